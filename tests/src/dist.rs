//! What `cargo xtask dist` makes, by file name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::overlay::run;

/// A folder with every package.
pub struct Dist(PathBuf);

impl Dist {
    /// `PROBE502_DIST`, else the packages of this commit, made first.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn of_this_commit() -> Result<Self> {
        if let Some(folder) = std::env::var_os("PROBE502_DIST") {
            return Ok(Self(folder.into()));
        }
        static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let into = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist");
            let done = xtask(&["dist", "--into", &into.display().to_string()]);
            done.map(|_| into).map_err(|error| format!("{error:#}"))
        });
        made.clone().map(Self).map_err(anyhow::Error::msg)
    }

    /// The image, unpacked below this folder by umoci into what a container runtime takes. umoci
    /// checks each digest and size.
    ///
    /// # Errors
    /// When umoci is not installed, or finds a fault.
    pub fn bundle(&self, folder: &Path) -> Result<PathBuf> {
        let (layout, bundle) = (folder.join("layout"), folder.join("bundle"));
        fs::create_dir(&layout)?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(self.package("-oci.tar")?);
        run(tar.arg("-C").arg(&layout))?;
        let image = format!("{}:{}", layout.display(), env!("CARGO_PKG_VERSION"));
        let mut umoci = Command::new("umoci");
        run(umoci.args(["unpack", "--image", &image]).arg(&bundle))?;
        Ok(bundle)
    }

    /// The same program packed again, into this folder.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub fn again(program: &Path, into: &Path) -> Result<Self> {
        let words = [program, into].map(|path| path.display().to_string());
        xtask(&["dist", "--binary", &words[0], "--into", &words[1]])?;
        Ok(Self(into.to_owned()))
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The one whose name ends so.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn package(&self, ending: &str) -> Result<PathBuf> {
        let entries = fs::read_dir(&self.0)?.collect::<std::io::Result<Vec<_>>>()?;
        let paths = entries.iter().map(fs::DirEntry::path);
        let fits = |path: &PathBuf| path.to_string_lossy().ends_with(ending);
        let found: Vec<PathBuf> = paths.filter(fits).collect();
        ensure!(found.len() == 1, "{ending}: {found:?}");
        found.into_iter().next().context("a package")
    }
}

/// Runs a chore: by `PROBE502_XTASK`, which is there already where the chore `test` runs this.
///
/// # Errors
/// When it fails.
pub fn xtask(words: &[&str]) -> Result<Output> {
    let mut command = chore();
    let output = command.args(words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "xtask {words:?}: {said}");
    Ok(output)
}

/// The same, to be told what to do.
#[must_use]
pub fn chore() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = match std::env::var_os("PROBE502_XTASK") {
        Some(xtask) => Command::new(xtask),
        None => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args(["run", "--quiet", "--package", "xtask", "--"]);
            command
        }
    };
    command.env("CARGO_MANIFEST_DIR", root.join("xtask"));
    command.current_dir(root);
    command
}
