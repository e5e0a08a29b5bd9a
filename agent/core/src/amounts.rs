//! Numbers and names as people write them.

use std::time::Duration;

use crate::event::{OomReport, Task};
use crate::units::{Errno, Timestamp};
use crate::verdict::{Symptom, Who};

/// `3.2 s`, `1.9 ms`, `40 µs`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match span.as_micros() {
        0..1_000 => format!("{} µs", span.as_micros()),
        1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000..120_000_000 => format!("{seconds:.1} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// The time from one moment to a later one.
#[must_use]
pub fn between(earlier: Timestamp, later: Timestamp) -> String {
    span(later.since(earlier))
}

/// Bytes that the kernel counts in KiB.
#[must_use]
pub fn memory(kib: u64) -> String {
    match kib {
        0..10_240 => format!("{kib} KiB"),
        10_240..10_485_760 => format!("{} MiB", kib / 1024),
        _ => format!("{} GiB", kib / 1_048_576),
    }
}

/// `cgroup limit (256 MiB) of /a/b`.
#[must_use]
pub fn limit(report: &OomReport) -> String {
    let limit = report
        .limit_kib
        .map(|kib| format!(" ({})", memory(kib)))
        .unwrap_or_default();
    format!("cgroup limit{limit}")
}

/// `gunicorn[4127]`.
#[must_use]
pub fn label(who: &Who) -> String {
    let name = who.script.as_ref().unwrap_or(&who.comm);
    format!("{name}[{}]", who.pid.0)
}

/// A task that nothing else is known of.
#[must_use]
pub fn bare(task: &Task) -> String {
    format!("{}[{}]", task.comm, task.pid.0)
}

/// `SIGTERM`; numbers are those of x86 and ARM (signal(7)).
#[must_use]
pub fn signal(number: u8) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        other => return format!("signal {other}"),
    };
    format!("SIG{name}")
}

/// An errno's name where a connection can have it (errno(3)).
#[must_use]
pub fn errno(Errno(number): Errno) -> String {
    let name = match number {
        1 => "EPERM",
        2 => "ENOENT",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        32 => "EPIPE",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

/// The symptom's public word.
#[must_use]
pub const fn symptom(symptom: Symptom) -> &'static str {
    match symptom {
        Symptom::Refused => "refused",
        Symptom::Unreachable => "unreachable",
        Symptom::ConnectTimeout => "connect-timeout",
        Symptom::ConnectError => "connect-error",
        Symptom::Eof => "eof",
        Symptom::Reset => "reset",
        Symptom::NoAnswer => "no-answer",
        Symptom::BadAnswer => "bad-answer",
        Symptom::TlsFailure => "tls-failure",
        Symptom::NoAttempt => "no-attempt",
        Symptom::Relayed => "relayed",
        Symptom::Truncated => "truncated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (nanos, text) in [
            (900, "0 µs"),
            (40_000, "40 µs"),
            (1_900_000, "1.9 ms"),
            (3_200_000_000, "3.2 s"),
            (600_000_000_000, "10 min"),
        ] {
            assert_eq!(span(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn memory_reads_well() {
        assert_eq!(
            (memory(512), memory(262_144)),
            ("512 KiB".into(), "256 MiB".into())
        );
        assert_eq!(memory(33_554_432), "32 GiB");
    }

    #[test]
    fn a_symptoms_word_is_its_json_form() {
        for one in [
            Symptom::Refused,
            Symptom::ConnectTimeout,
            Symptom::NoAttempt,
            Symptom::Truncated,
        ] {
            assert_eq!(serde_json::to_value(one).unwrap(), symptom(one));
        }
    }
}
