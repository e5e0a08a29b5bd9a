//! A real systemd that runs the package's own unit: a user's instance whose user is root, which bounds
//! services as the host's does. One of its own as process 1 would need a pid namespace, where the agent refuses to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::client::next_id;
use crate::overlay::run;
use crate::paths::Folder;

/// Its runtime folder: on a file system of its own, where neither `ProtectHome` nor `PrivateTmp` hides it.
const RUN: &str = "/run/probe502";
const PATIENCE: Duration = Duration::from_secs(120);

/// The service's manager, ended with all that it started when dropped.
pub struct Manager {
    child: Child,
    group: PathBuf,
    /// Where it says what goes wrong.
    pub folder: Folder,
}

impl Manager {
    /// Starts one that knows the unit, this program in the place of the installed one, and these settings.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(unit: &str, program: &Path, settings: &str) -> Result<Self> {
        let folder = Folder::make()?;
        let unit = unit.replace("/usr/bin/probe502", &format!("{RUN}/probe502"));
        fs::write(folder.path("probe502.service"), unit)?;
        fs::write(folder.path("settings.conf"), settings)?;
        fs::copy(program, folder.path("program"))?;
        let group = group()?;
        // The rest is what a host's systemd has made by the time that it starts a service.
        let script = format!(
            "set -e; cd \"$1\"; echo $$ >\"$2/cgroup.procs\"; umask 0
            umount --recursive --lazy /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
            mount -t tmpfs -o mode=755 none /run
            mkdir -p /run/systemd/system /run/systemd/inaccessible/dir
            cd /run/systemd/inaccessible; touch reg; mkfifo fifo; cd \"$1\"
            mkdir -m 755 -p {RUN}/home {RUN}/units/probe502.service.d
            cp program {RUN}/probe502; cp probe502.service {RUN}/units
            cp settings.conf {RUN}/units/probe502.service.d
            for target in basic default network; do
                printf '[Unit]\\nDefaultDependencies=no\\n' >{RUN}/units/$target.target
            done
            exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME={RUN}/home XDG_RUNTIME_DIR={RUN} \
                SYSTEMD_UNIT_PATH={RUN}/units /lib/systemd/systemd --user --unit=default.target"
        );
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        command.arg(folder.path("")).arg(&group);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(folder.path("errors"))?);
        let child = command.spawn().context("unshare")?;
        let manager = Self {
            child,
            group,
            folder,
        };
        manager.until("the manager is up", || {
            Ok(manager.ask(&["show-environment"])?.status.success())
        })?;
        Ok(manager)
    }

    /// What `systemctl` answers.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ask(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.inside("systemctl");
        Ok(command.arg("--user").args(words).output()?)
    }

    /// The same, which must succeed; gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn does(&self, words: &[&str]) -> Result<String> {
        let output = self.ask(words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let log = self.reads("log").unwrap_or_default();
        ensure!(output.status.success(), "{words:?}: {said}{errors}{log}");
        Ok(said.trim().to_owned())
    }

    /// A property of the service.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn property(&self, name: &str) -> Result<String> {
        self.does(&["show", "--property", name, "--value", "probe502"])
    }

    /// A file in its runtime folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn reads(&self, name: &str) -> Result<String> {
        run(self.inside("cat").arg(format!("{RUN}/{name}")))
    }

    /// Puts a file among its units.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn writes(&self, name: &str, text: &str) -> Result<()> {
        let script = "printf %s \"$0\" >\"$1\"";
        let mut shell = self.inside("sh");
        shell.args(["-c", script, text]);
        run(shell.arg(format!("{RUN}/units/{name}"))).map(drop)
    }

    /// Waits for what comes in its own time.
    ///
    /// # Errors
    /// When it does not come.
    pub fn until(&self, what: &str, so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !so()? {
            let errors = fs::read_to_string(self.folder.path("errors"))?;
            ensure!(Instant::now() < deadline, "never: {what}; {errors}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.child.id().to_string();
        command.args(["--target", &pid, "--mount", "--root", "--wd", program]);
        command.env("XDG_RUNTIME_DIR", RUN);
        command
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The killed leave in their own time.
        for _ in 0..100 {
            let mut find = Command::new("find");
            find.arg(&self.group)
                .args(["-depth", "-type", "d", "-delete"]);
            if run(&mut find).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A group of its own, below the root of cgroup v2.
fn group() -> Result<PathBuf> {
    let hybrid = Path::new("/sys/fs/cgroup/unified");
    let root = if hybrid.exists() {
        hybrid
    } else {
        Path::new("/sys/fs/cgroup")
    };
    let group = root.join(format!("probe502-{}-{}", std::process::id(), next_id()));
    fs::create_dir(&group).with_context(|| group.display().to_string())?;
    Ok(group)
}
