//! What to do about a hook that this kernel or these privileges refuse, in one line.

use aya::programs::ProgramError;
use rustix::io::Errno;

use super::Place;

const NET_ADMIN: &str = "grant CAP_NET_ADMIN: programs that look at packets and sockets need it";
const TRACING: &str = "grant CAP_BPF and CAP_PERFMON; a kernel that is locked down \
                       (/sys/kernel/security/lockdown) refuses them all the same";
const CGROUP: &str = "show it the host's root of cgroup v2: mount -t cgroup2 none \
                      /sys/fs/cgroup/unified, or pass the host's /sys/fs/cgroup into a container";
const KERNEL: &str = "run it on a kernel that has this hook: docs/kernels.md says which";
const REFUSED: &str = "report it with the output of `probe502 doctor -o json`; docs/kernels.md says \
                       which kernels take it";

/// What it would take; `sees_cgroups` where the host's root of cgroups was found.
pub fn fix(place: Place, error: &anyhow::Error, sees_cgroups: bool) -> &'static str {
    let is_tracing = matches!(place, Place::Tracepoint(_) | Place::OnCall(_));
    match (is_tracing, is_denied(error)) {
        (false, _) if !sees_cgroups => CGROUP,
        (false, true) => NET_ADMIN,
        (true, true) => TRACING,
        (true, false) if error.downcast_ref::<ProgramError>().is_none() => KERNEL,
        (_, false) => REFUSED,
    }
}

/// Privileges, and not the verifier, which says `EACCES` and more.
fn is_denied(error: &anyhow::Error) -> bool {
    let denied = |error: &std::io::Error| Errno::from_io_error(error) == Some(Errno::PERM);
    match error.downcast_ref() {
        Some(ProgramError::LoadError { io_error, .. }) => denied(io_error),
        Some(ProgramError::SyscallError(call)) => denied(&call.io_error),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use aya::sys::SyscallError;

    use super::*;

    fn call(errno: Errno) -> anyhow::Error {
        let call = "bpf_link_create";
        let io_error = Error::from(errno);
        ProgramError::SyscallError(SyscallError { call, io_error }).into()
    }

    #[test]
    fn each_place_and_reason_has_its_own() {
        let trace = Place::Tracepoint("console");
        let absent = || anyhow::anyhow!("this kernel has no such hook");
        for (place, error, sees_cgroups, wanted) in [
            (Place::Ingress, call(Errno::PERM), true, NET_ADMIN),
            (Place::Connect4, call(Errno::PERM), false, CGROUP),
            (Place::Create, absent(), false, CGROUP),
            (Place::Egress, call(Errno::ACCESS), true, REFUSED),
            (trace, call(Errno::PERM), false, TRACING),
            (trace, call(Errno::ACCESS), true, REFUSED),
            (trace, absent(), true, KERNEL),
        ] {
            assert_eq!(fix(place, &error, sees_cgroups), wanted, "{error}");
        }
    }
}
