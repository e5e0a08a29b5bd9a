//! Debian's kernels: fetched by a private apt, so that this host's own lists stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::quiet;
use crate::{process, repository};

/// A kernel that the agent meets.
pub struct Kernel {
    /// As the command line calls it.
    pub name: &'static str,
    /// Debian's release that has it.
    pub suite: &'static str,
    /// Whether it is above the floor: below, the agent must refuse.
    pub is_served: bool,
    /// What QEMU emulates.
    pub processor: &'static str,
}

const WHOLE: &str = "max";
/// QEMU 7.2 leaves rubbish in the flags after `cmpxchg16b`, which kernels since 6.18 cannot do
/// without: BPF's storage beside a socket is allocated with it (`kmalloc_nolock`, `mm/slub.c`).
const WITHOUT_CX16: &str = "max,cx16=off";

pub const ALL: &[Kernel] = &[
    Kernel {
        name: "5.10",
        suite: "bullseye",
        is_served: false,
        processor: WHOLE,
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
        is_served: true,
        processor: WITHOUT_CX16,
    },
    Kernel {
        name: "6.12",
        suite: "trixie",
        is_served: true,
        processor: WITHOUT_CX16,
    },
    Kernel {
        name: "newest",
        suite: "sid",
        is_served: true,
        processor: WHOLE,
    },
];

/// A kernel on this disk.
pub struct Unpacked {
    pub release: String,
    /// What holds `tree/` and what is made for its guest.
    pub folder: PathBuf,
    /// The folder of its modules, named by the release.
    pub modules: PathBuf,
    pub image: PathBuf,
}

/// The newest that its suite has; what was fetched before is used where no newer one can be had.
pub fn unpacked(kernel: &Kernel) -> Result<Unpacked> {
    let folder = repository::target().join("vm").join(kernel.name);
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let tree = folder.join("tree");
    if find(&tree).is_err() {
        let packages = Packages::of(kernel, &folder)?;
        packages.unpack(&tree)?;
    }
    let (release, modules, image) = find(&tree)?;
    if !modules.join("modules.dep").exists() {
        let base = above(&modules)?;
        quiet(
            Command::new("/usr/sbin/depmod")
                .arg("-b")
                .arg(base)
                .arg(&release),
        )?;
    }
    Ok(Unpacked {
        release,
        folder,
        modules,
        image,
    })
}

/// The folder above `lib/modules`, in `usr` or not.
pub fn above(modules: &Path) -> Result<&Path> {
    modules.ancestors().nth(3).context("modules lie too high")
}

/// The release, its modules and its image; where they lie differs between Debian's releases.
fn find(tree: &Path) -> Result<(String, PathBuf, PathBuf)> {
    let places = ["lib/modules", "usr/lib/modules"];
    let all = places
        .iter()
        .filter_map(|place| std::fs::read_dir(tree.join(place)).ok());
    let modules = all.flatten().next().context("no modules")??.path();
    let release = modules.file_name().context("no release")?;
    let release = release.to_string_lossy().into_owned();
    let images = [
        tree.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    let image = images.into_iter().find(|image| image.exists());
    Ok((release, modules, image.context("no kernel image")?))
}

/// An apt of its own.
struct Packages {
    folder: PathBuf,
}

impl Packages {
    fn of(kernel: &Kernel, folder: &Path) -> Result<Self> {
        let folder = folder.join("apt");
        std::fs::create_dir_all(folder.join("lists/partial"))?;
        std::fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let source = format!("deb {} {} main\n", mirror()?, kernel.suite);
        std::fs::write(folder.join("sources.list"), source)?;
        let packages = Self { folder };
        quiet(packages.apt("apt-get").arg("update"))?;
        Ok(packages)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let place = |key: &str, name: &str| format!("{key}={}", self.folder.join(name).display());
        let options = [
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            // No sandbox's user needs to reach this folder.
            "APT::Sandbox::User=root".to_owned(),
            // An archived release is not renewed.
            "Acquire::Check-Valid-Until=false".to_owned(),
            place("Dir::Etc::sourcelist", "sources.list"),
            place("Dir::State::lists", "lists"),
            place("Dir::Cache", "cache"),
        ];
        for option in options {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.folder);
        command
    }

    /// The kernel for clouds, and what newer releases keep in packages beside it.
    fn unpack(&self, tree: &Path) -> Result<()> {
        let mut wanted = self.needs("linux-image-cloud-amd64")?;
        let first = wanted.first().context("no kernel for clouds")?.clone();
        wanted.extend(self.needs(&first)?);
        quiet(self.apt("apt-get").arg("download").args(&wanted))?;
        for file in std::fs::read_dir(&self.folder)? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                quiet(Command::new("dpkg-deb").arg("-x").arg(&file).arg(tree))?;
                std::fs::remove_file(&file)?;
            }
        }
        Ok(())
    }

    /// The packages of the kernel itself on which this one depends.
    fn needs(&self, package: &str) -> Result<Vec<String>> {
        let shown =
            process::read(
                self.apt("apt-cache")
                    .args(["show", "--no-all-versions", package]),
            )?;
        let depends = shown
            .lines()
            .find_map(|line| line.strip_prefix("Depends: "));
        let names = depends.unwrap_or_default().split(", ");
        let is_part = |name: &&str| {
            ["linux-image-", "linux-binary-", "linux-modules-"]
                .iter()
                .any(|start| {
                    name.strip_prefix(start)
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                })
        };
        let name = |words: &str| words.split(' ').next().unwrap_or_default().to_owned();
        Ok(names.filter(is_part).map(name).collect())
    }
}

/// Where this host's own packages come from.
fn mirror() -> Result<String> {
    let mut ask = Command::new("apt-get");
    ask.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]);
    let all = process::read(&mut ask)?;
    let is_main = |line: &&str| !line.contains("security");
    let found = all.lines().find(is_main).context("apt has no sources")?;
    Ok(found.to_owned())
}
