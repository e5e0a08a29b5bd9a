//! Programs that end others on somebody's behalf, by their names.

/// Who stops processes on a platform's behalf, by name; `containerd-shim` in all its lengths.
const RUNTIMES: [&str; 15] = [
    "systemd",
    "containerd-shim",
    "containerd",
    "runc",
    "crun",
    "conmon",
    "kubelet",
    "dockerd",
    "docker",
    "podman",
    "tini",
    "dumb-init",
    "docker-init",
    "catatonit",
    "systemd-shutdow",
];
/// Programs that kill before the kernel must; `comm` is cut at 15 bytes.
const GUARDS: [&str; 5] = [
    "systemd-oomd",
    "earlyoom",
    "oomd",
    "nohang",
    "low-memory-moni",
];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "fish", "ash"];

/// Whether it ends others before the kernel must for want of memory.
#[must_use]
pub fn is_guard(name: &str) -> bool {
    GUARDS.contains(&name)
}

/// Whether it is an init system or a container runtime.
#[must_use]
pub fn is_runtime(name: &str) -> bool {
    RUNTIMES.contains(&name) || name.starts_with("containerd-shim")
}

/// Whether a person or a script speaks through it.
#[must_use]
pub fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name)
}
