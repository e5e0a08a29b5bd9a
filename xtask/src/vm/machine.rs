//! One guest under QEMU's own emulation: it needs no virtualisation of this host.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::kernels::Unpacked;
use super::ramdisk;

/// Where Debian's releases keep the file server.
const SERVERS: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
const TICK: Duration = Duration::from_millis(100);
/// The end of the console, for an error's text.
const SHOWN: usize = 4000;

/// A guest to be.
pub struct Machine<'a> {
    pub unpacked: &'a Unpacked,
    pub processor: &'a str,
    /// What it may write to.
    pub folder: &'a Path,
    /// What its first process finds in its environment.
    pub variables: &'a [(&'a str, &'a str)],
}

/// Ends with its holder.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// Until it powers off; returns the end of what it wrote to its console.
    pub fn run(&self, patience: Duration) -> Result<String> {
        let ramdisk = ramdisk::write(self.unpacked)?;
        let socket = self.unpacked.folder.join("host.sock");
        let _served = served(&socket, self.folder)?;
        let console = self.folder.join("console");
        let mut guest = Held(self.emulator(&ramdisk, &socket, &console)?);
        let deadline = Instant::now() + patience;
        while guest.0.try_wait()?.is_none() {
            let told = || end(&console);
            ensure!(
                Instant::now() < deadline,
                "no end within {patience:?}: {}",
                told()
            );
            std::thread::sleep(TICK);
        }
        Ok(end(&console))
    }

    fn emulator(&self, ramdisk: &Path, socket: &Path, console: &Path) -> Result<Child> {
        let mut command = Command::new("qemu-system-x86_64");
        // One processor: kernels that patch their own code stop with two, and 6.12's virtiofs asks for
        // a queue for each.
        command.args(["-accel", "tcg", "-cpu", self.processor]);
        command.args(["-smp", "1", "-m", "2G"]);
        command.args(["-object", "memory-backend-memfd,id=memory,size=2G,share=on"]);
        command.args(["-numa", "node,memdev=memory"]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command
            .arg("-serial")
            .arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(&self.unpacked.image);
        command.arg("-initrd").arg(ramdisk);
        command.arg("-append").arg(self.command_line());
        command
            .arg("-chardev")
            .arg(format!("socket,id=files,path={}", socket.display()));
        command.args(["-device", "vhost-user-fs-pci,chardev=files,tag=host"]);
        command.args(["-device", "virtio-rng-pci"]);
        command.stdin(Stdio::null());
        command.spawn().context("qemu-system-x86_64")
    }

    /// The kernel hands words that it does not know to its first process
    /// (`Documentation/admin-guide/kernel-parameters.rst`).
    fn command_line(&self) -> String {
        let modules = self
            .unpacked
            .modules
            .parent()
            .unwrap_or(&self.unpacked.modules);
        let own = [
            ("OUT", self.folder.display().to_string()),
            ("MODULES", modules.display().to_string()),
        ];
        let own = own.iter().map(|(key, value)| (*key, value.as_str()));
        let words = own.chain(self.variables.iter().copied());
        let words: Vec<_> = words.map(|(key, value)| format!("{key}={value}")).collect();
        format!("console=ttyS0 panic=-1 {}", words.join(" "))
    }
}

/// Shows this host's files.
fn served(socket: &Path, folder: &Path) -> Result<Held> {
    let server = SERVERS.iter().find(|server| Path::new(server).exists());
    let server = server.context("Debian's virtiofsd is not where it was")?;
    if socket.exists() {
        std::fs::remove_file(socket)?;
    }
    let log = std::fs::File::create(folder.join("files.log"))?;
    let mut command = Command::new(server);
    command.arg(format!("--socket-path={}", socket.display()));
    command.args(["-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=auto"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let held = Held(command.spawn().context(*server)?);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        ensure!(Instant::now() < deadline, "{server} does not serve");
        std::thread::sleep(TICK);
    }
    Ok(held)
}

fn end(console: &Path) -> String {
    let bytes = std::fs::read(console).unwrap_or_default();
    let from = bytes.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
