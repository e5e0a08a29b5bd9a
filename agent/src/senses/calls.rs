//! The system calls that a service sleeps in, by their numbers.

/// What a call's first argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A file descriptor.
    Descriptor,
    /// Something else.
    Other,
}

use First::{Descriptor, Other};

/// `arch/x86/entry/syscalls/syscall_64.tbl`: those that wait.
#[cfg(target_arch = "x86_64")]
const CALLS: &[(u64, &str, First)] = &[
    (0, "read", Descriptor),
    (1, "write", Descriptor),
    (7, "poll", Other),
    (17, "pread64", Descriptor),
    (18, "pwrite64", Descriptor),
    (19, "readv", Descriptor),
    (20, "writev", Descriptor),
    (23, "select", Other),
    (34, "pause", Other),
    (35, "nanosleep", Other),
    (40, "sendfile", Descriptor),
    (42, "connect", Descriptor),
    (43, "accept", Descriptor),
    (44, "sendto", Descriptor),
    (45, "recvfrom", Descriptor),
    (46, "sendmsg", Descriptor),
    (47, "recvmsg", Descriptor),
    (61, "wait4", Other),
    (65, "semop", Other),
    (70, "msgrcv", Other),
    (72, "fcntl", Descriptor),
    (73, "flock", Descriptor),
    (74, "fsync", Descriptor),
    (75, "fdatasync", Descriptor),
    (128, "rt_sigtimedwait", Other),
    (130, "rt_sigsuspend", Other),
    (202, "futex", Other),
    (219, "restart_syscall", Other),
    (220, "semtimedop", Other),
    (230, "clock_nanosleep", Other),
    (232, "epoll_wait", Other),
    (247, "waitid", Other),
    (257, "openat", Other),
    (270, "pselect6", Other),
    (271, "ppoll", Other),
    (281, "epoll_pwait", Other),
    (288, "accept4", Descriptor),
    (426, "io_uring_enter", Other),
    (441, "epoll_pwait2", Other),
    (449, "futex_waitv", Other),
];

/// `include/uapi/asm-generic/unistd.h`: those that wait.
#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[(u64, &str, First)] = &[
    (22, "epoll_pwait", Other),
    (25, "fcntl", Descriptor),
    (32, "flock", Descriptor),
    (56, "openat", Other),
    (63, "read", Descriptor),
    (64, "write", Descriptor),
    (65, "readv", Descriptor),
    (66, "writev", Descriptor),
    (67, "pread64", Descriptor),
    (68, "pwrite64", Descriptor),
    (71, "sendfile", Descriptor),
    (72, "pselect6", Other),
    (73, "ppoll", Other),
    (82, "fsync", Descriptor),
    (83, "fdatasync", Descriptor),
    (95, "waitid", Other),
    (98, "futex", Other),
    (101, "nanosleep", Other),
    (115, "clock_nanosleep", Other),
    (128, "restart_syscall", Other),
    (133, "rt_sigsuspend", Other),
    (137, "rt_sigtimedwait", Other),
    (188, "msgrcv", Other),
    (192, "semtimedop", Other),
    (193, "semop", Other),
    (202, "accept", Descriptor),
    (203, "connect", Descriptor),
    (206, "sendto", Descriptor),
    (207, "recvfrom", Descriptor),
    (211, "sendmsg", Descriptor),
    (212, "recvmsg", Descriptor),
    (242, "accept4", Descriptor),
    (260, "wait4", Other),
    (426, "io_uring_enter", Other),
    (441, "epoll_pwait2", Other),
    (449, "futex_waitv", Other),
];

/// A call as proc_pid_syscall(5) shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name; by its number where it is none of those that wait.
    pub name: String,
    /// The descriptor that it works on.
    pub descriptor: Option<u64>,
}

/// `NR ARG…`, `-1 …` outside of a call, or `running`.
pub fn call(text: &str) -> Option<Call> {
    let mut words = text.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let first = words.next().and_then(|word| word.strip_prefix("0x"));
    let first = first.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let known = CALLS.iter().find(|(known, ..)| *known == number);
    Some(match known {
        Some((_, name, Descriptor)) => Call {
            name: (*name).to_owned(),
            descriptor: first,
        },
        Some((_, name, Other)) => Call {
            name: (*name).to_owned(),
            descriptor: None,
        },
        None => Call {
            name: format!("system call {number}"),
            descriptor: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_with_their_descriptor() {
        let (number, name, _) = CALLS
            .iter()
            .find(|(.., first)| *first == Descriptor)
            .expect("one");
        let told = call(&format!("{number} 0x7 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f88\n"));
        let expected = Call {
            name: (*name).to_owned(),
            descriptor: Some(7),
        };
        assert_eq!(told, Some(expected));
        assert_eq!(call("9999 0x1").expect("a call").name, "system call 9999");
        for nothing in ["running\n", "-1 0x7ffe 0x7f88", ""] {
            assert_eq!(call(nothing), None);
        }
    }
}
