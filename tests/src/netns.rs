//! Network namespaces with a veth pair to ours, removed when dropped.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::client::next_id;
use crate::running::Running;

/// A namespace; our end of its veth has `.1`, its own end `.2`.
pub struct Netns {
    /// As `ip netns` knows it.
    pub name: String,
    number: u8,
}

impl Netns {
    /// Makes a namespace with loopback and a veth pair up.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn make() -> Result<Self> {
        let name = format!("probe502-{}-{}", std::process::id(), next_id());
        ip(&["netns", "add", &name])?;
        match (1..=250).find(|&number| pair(number, &name).is_ok()) {
            Some(number) => Self { name, number }.wired(),
            None => ip(&["netns", "del", &name]).and(Err(anyhow::anyhow!("no veth pair is left"))),
        }
    }

    fn wired(self) -> Result<Self> {
        let (outer, inner) = (outer(self.number), inner(self.number));
        let (ours, theirs) = (self.address(1) + "/24", self.address(2) + "/24");
        ip(&["addr", "add", &ours, "dev", &outer])?;
        ip(&["link", "set", &outer, "up"])?;
        ip(&["-n", &self.name, "addr", "add", &theirs, "dev", &inner])?;
        ip(&["-n", &self.name, "link", "set", &inner, "up"])?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        Ok(self)
    }

    /// Its address.
    #[must_use]
    pub fn host(&self) -> String {
        self.address(2)
    }

    /// Our end's address, by which it reaches everything else.
    #[must_use]
    pub fn router(&self) -> String {
        self.address(1)
    }

    /// An address of its subnet that nobody has; that is found out within half a second.
    ///
    /// # Errors
    /// When the kernel's settings cannot be written.
    pub fn absent(&self) -> Result<String> {
        let dir = format!("/proc/sys/net/ipv4/neigh/{}", outer(self.number));
        std::fs::write(format!("{dir}/retrans_time_ms"), "150")?;
        std::fs::write(format!("{dir}/mcast_solicit"), "2")?;
        Ok(self.address(77))
    }

    /// 198.18.0.0/15 is for tests of network devices (RFC 2544): nobody's real network.
    fn address(&self, end: u8) -> String {
        format!("198.18.{}.{end}", self.number)
    }

    /// Has packets of both ends processed on this processor, as a network card's interrupts may.
    ///
    /// # Errors
    /// When the kernel has no RPS.
    pub fn steer(&self, cpu: u32) -> Result<()> {
        let mask = format!("{:x}", 1u32 << cpu);
        let path = |device: &str| format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
        std::fs::write(path(&outer(self.number)), &mask)?;
        // `ip netns exec` mounts the namespace's own /sys.
        let mut write = Command::new("ip");
        write.args([
            "netns",
            "exec",
            &self.name,
            "tee",
            &path(&inner(self.number)),
        ]);
        let mut child = write.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(mask.as_bytes())?;
        }
        ensure!(
            child.wait()?.success(),
            "rps_cpus of {} was refused",
            inner(self.number)
        );
        Ok(())
    }

    /// Runs a command inside, to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, words: &[&str]) -> Result<()> {
        ip(&[&["netns", "exec", &self.name], words].concat())
    }

    /// Starts a command inside.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Running> {
        let prefix = Self::prefix(&self.name);
        Running::start(Command::new(&prefix[0]).args(&prefix[1..]).args(words))
    }

    /// The words that run a command inside.
    #[must_use]
    pub fn prefix(name: &str) -> Vec<String> {
        ["ip", "netns", "exec", name].map(str::to_owned).to_vec()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // A namespace lives on while connections linger in it; the device goes at once.
        let _ = ip(&["link", "del", &outer(self.number)]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// The device's name is the lock: another run of these tests may be at work beside this one.
fn pair(number: u8, netns: &str) -> Result<()> {
    let (outer, inner) = (outer(number), inner(number));
    ip(&[
        "link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", netns,
    ])
}

fn outer(number: u8) -> String {
    format!("p502o{number}")
}

fn inner(number: u8) -> String {
    format!("p502i{number}")
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
