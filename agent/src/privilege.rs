//! What must be there before the kernel programs can be loaded; says how to get it where it is not.

use std::fs;
use std::path::Path;

use crate::kernel::Blocked;

/// Bits of capabilities(7) and `linux/capability.h`.
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// The kernel's description of its own types; without it no offset is known.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Checks privilege and BTF, in the order in which they would fail.
pub fn check() -> Result<(), Blocked> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(missing) = missing(effective(&status)) {
        return Err(Blocked::NoPrivilege(format!(
            "loading kernel programs needs {missing}: run it with sudo, or grant the binary \
             its capabilities: setcap cap_bpf,cap_perfmon,cap_net_admin,cap_sys_ptrace,cap_syslog,\
             cap_dac_read_search+ep probe502"
        )));
    }
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if !is_hosts(&namespace.to_string_lossy()) {
        return Err(Blocked::NoPrivilege(
            "this is not the host's pid namespace, so processes would be called by wrong names: \
             run it with the host's (docker run --pid=host, hostPID: true)"
                .to_owned(),
        ));
    }
    if !Path::new(BTF).exists() {
        return Err(Blocked::NoBtf(format!(
            "{BTF} is not there: this kernel does not describe its types. Use a kernel built with \
             CONFIG_DEBUG_INFO_BTF=y (every current distribution's is), and mount /sys where this \
             runs in a container"
        )));
    }
    Ok(())
}

/// The first pid namespace has a fixed number (`PROC_PID_INIT_INO`). Unreadable is no proof.
fn is_hosts(namespace: &str) -> bool {
    namespace.is_empty() || namespace == "pid:[4026531836]"
}

/// The effective capabilities, from proc_pid_status(5).
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// `CAP_SYS_ADMIN` includes both others (capabilities(7)).
fn missing(effective: u64) -> Option<&'static str> {
    let has = |capability| effective & (capability | SYS_ADMIN) != 0;
    match (has(BPF), has(PERFMON)) {
        (true, true) => None,
        (false, true) => Some("CAP_BPF"),
        (true, false) => Some("CAP_PERFMON"),
        (false, false) => Some("root, or CAP_BPF and CAP_PERFMON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            0x1ff_ffff_ffff
        );
        assert_eq!(effective("CapEff:\tnonsense\n"), 0);
        assert_eq!(effective(""), 0);
    }

    #[test]
    fn another_pid_namespace_is_told_by_its_number() {
        assert!(is_hosts("pid:[4026531836]") && is_hosts(""));
        assert!(!is_hosts("pid:[4026532177]"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(0), Some("root, or CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing(BPF), Some("CAP_PERFMON"));
        assert_eq!(missing(PERFMON), Some("CAP_BPF"));
        assert_eq!(missing(BPF | PERFMON), None);
        assert_eq!(missing(SYS_ADMIN), None);
    }
}
