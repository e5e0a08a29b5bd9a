//! Network namespaces with a veth pair to ours, removed when dropped.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Result, ensure};

/// A namespace; our end of its veth has `.1`, its own end `.2`.
pub struct Netns {
    /// As `ip netns` knows it.
    pub name: String,
    /// Its address.
    pub host: String,
    /// The address of our end.
    pub ours: String,
    number: u8,
}

impl Netns {
    /// Makes a namespace with loopback and a veth pair up.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn make() -> Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("probe502-{}-{number}", std::process::id());
        // 198.18.0.0/15 is for tests of network devices (RFC 2544): nobody's real network.
        let (ours, host) = (format!("198.18.{number}.1"), format!("198.18.{number}.2"));
        ip(&["netns", "add", &name])?;
        let netns = Self {
            name,
            host,
            ours,
            number,
        };
        netns.wire()?;
        Ok(netns)
    }

    fn wire(&self) -> Result<()> {
        let (outer, inner) = (self.outer(), self.inner());
        ip(&[
            "link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &self.name,
        ])?;
        ip(&["addr", "add", &format!("{}/24", self.ours), "dev", &outer])?;
        ip(&["link", "set", &outer, "up"])?;
        ip(&[
            "-n",
            &self.name,
            "addr",
            "add",
            &format!("{}/24", self.host),
            "dev",
            &inner,
        ])?;
        ip(&["-n", &self.name, "link", "set", &inner, "up"])?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])
    }

    /// Has packets of both ends processed on this processor, as a network card's interrupts may.
    ///
    /// # Errors
    /// When the kernel has no RPS.
    pub fn steer(&self, cpu: u32) -> Result<()> {
        let mask = format!("{:x}", 1u32 << cpu);
        let path = |device: &str| format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
        std::fs::write(path(&self.outer()), &mask)?;
        // `ip netns exec` mounts the namespace's own /sys.
        let mut write = Command::new("ip");
        write.args(["netns", "exec", &self.name, "tee", &path(&self.inner())]);
        let mut child = write.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(mask.as_bytes())?;
        }
        ensure!(
            child.wait()?.success(),
            "rps_cpus of {} was refused",
            self.inner()
        );
        Ok(())
    }

    /// The words that run a command inside.
    #[must_use]
    pub fn prefix(name: &str) -> Vec<String> {
        ["ip", "netns", "exec", name].map(str::to_owned).to_vec()
    }

    fn outer(&self) -> String {
        format!("p502o{}", self.number)
    }

    fn inner(&self) -> String {
        format!("p502i{}", self.number)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A namespace lives on while connections linger in it; the device goes at once.
        let _ = ip(&["link", "del", &self.outer()]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output()?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
