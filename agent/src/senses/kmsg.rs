//! The kernel log from now on: what it says of OOM kills, and whose limit was met.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};

use probe502_common::{LogLine, kind};
use probe502_core::event::{Event, Fact, Lost, OomReport};
use probe502_core::units::{Pid, Timestamp};
use rustix::fs::{OFlags, makedev};
use rustix::io::Errno;
use zerocopy::FromBytes as _;

/// The stage that [`Lost`] names for records that the kernel log overwrote.
const STAGE: &str = "log";

/// Its number among the devices (Linux's Documentation/admin-guide/devices.txt).
const DEVICE: (u32, u32) = (1, 11);

/// How a piece of a line begins, or the whole piece, that names the cgroup whose limit was met.
const MEMCG: &str = ",oom_memcg=";

/// One record is at most this long (`PRINTKRB_RECORD_MAX` and its dictionary).
const RECORD: usize = 8192;

/// /dev/kmsg, opened at its end.
pub struct KernelLog {
    file: File,
    sequence: Option<u64>,
    oom: Oom,
}

impl KernelLog {
    /// Begins after what was said so far. Needs `CAP_SYSLOG` where `dmesg_restrict` is set.
    pub fn open() -> std::io::Result<Self> {
        Self::open_at("/dev/kmsg")
    }

    fn open_at(path: &str) -> std::io::Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let mut file = File::options()
            .read(true)
            .custom_flags(nonblocking)
            .open(path)?;
        // Containers have the console or nothing at all in its place, which would be silent for ever.
        if file.metadata()?.rdev() != makedev(DEVICE.0, DEVICE.1) {
            return Err(std::io::Error::other("it is not the kernel's log"));
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            sequence: None,
            oom: Oom::default(),
        })
    }

    /// Hands over what was said since the last call; never waits.
    pub fn drain(&mut self, mut each: impl FnMut(Fact)) -> std::io::Result<()> {
        let mut buffer = [0; RECORD];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.record(&String::from_utf8_lossy(&buffer[..length]), &mut each),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The record was overwritten before it was read; the next read goes on after it.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn record(&mut self, record: &str, each: &mut impl FnMut(Fact)) {
        let Some((sequence, text)) = parse(record) else {
            return;
        };
        let skipped = self
            .sequence
            .map_or(0, |last| sequence.saturating_sub(last + 1));
        if skipped > 0 {
            each(Fact::Lost(Lost {
                kind: None,
                since_at: None,
                stage: STAGE.to_owned(),
                count: skipped,
            }));
        }
        self.sequence = Some(sequence);
        if let Some(report) = self.oom.hear(text) {
            each(Fact::OomReport(report));
        }
    }
}

/// Linux's Documentation/ABI/testing/dev-kmsg: `priority,sequence,microseconds,flags…;text\n key=value…`.
fn parse(record: &str) -> Option<(u64, &str)> {
    let (prefix, rest) = record.split_once(';')?;
    let sequence = prefix.split(',').nth(1)?.parse().ok()?;
    Some((sequence, rest.lines().next().unwrap_or("")))
}

/// The same from the kernel's hook, which tells each line as it is logged.
#[derive(Default)]
pub struct LogLines(Oom);

impl LogLines {
    /// What a record of the ring tells; `None` where it is no line of the log.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Option<Event>> {
        let line = LogLine::read_from_bytes(bytes).ok();
        let line = line.filter(|line| line.header.kind == kind::LOG_LINE)?;
        let text = line.text.get(..line.length as usize)?;
        let report = self.0.hear(&String::from_utf8_lossy(text));
        Some(report.map(|report| Event {
            at: Timestamp(line.header.at),
            fact: Fact::OomReport(report),
        }))
    }
}

/// What one OOM kill's lines have said so far; the line with the kill completes them.
#[derive(Default)]
struct Oom {
    cgroup: Option<String>,
    limit_kib: Option<u64>,
    /// The next piece of the line is the cgroup.
    cgroup_follows: bool,
}

impl Oom {
    fn hear(&mut self, line: &str) -> Option<OomReport> {
        let cgroup_follows = std::mem::take(&mut self.cgroup_follows);
        if line.contains(" invoked oom-killer: ") {
            *self = Self::default();
        } else if cgroup_follows && line.starts_with('/') {
            self.cgroup = Some(line.to_owned());
        } else if line == MEMCG {
            self.cgroup_follows = true;
        } else if let Some(usage) = line.strip_prefix("memory: usage ") {
            self.limit_kib = kilobytes(usage, "limit ");
        } else if let Some(kill) = line.strip_prefix("oom-kill:") {
            self.cgroup = field(kill, "oom_memcg=");
        } else if let Some((_, killed)) = line.split_once("ut of memory: Killed process ") {
            return self.report(line, killed);
        } else if line.contains("ut of memory: OOM victim ") {
            // It was leaving by itself: what was told of it is nobody else's.
            *self = Self::default();
        }
        None
    }

    fn report(&mut self, line: &str, killed: &str) -> Option<OomReport> {
        let digits = killed.split(|other: char| !other.is_ascii_digit()).next()?;
        let told = std::mem::take(self);
        let by_cgroup = line.starts_with("Memory cgroup ");
        // The usage alone may be of a time before, when nobody was killed.
        let cgroup = told.cgroup.filter(|_| by_cgroup);
        Some(OomReport {
            pid: Pid(digits.parse().ok()?),
            by_cgroup,
            limit_kib: told.limit_kib.filter(|_| cgroup.is_some()),
            cgroup,
            rss_kib: kilobytes(killed, "anon-rss:"),
        })
    }
}

fn field(text: &str, key: &str) -> Option<String> {
    let (_, value) = text.split_once(key)?;
    value.split(',').next().map(str::to_owned)
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let (_, value) = text.split_once(key)?;
    value.split_once("kB")?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;

    fn reports(lines: &[&str]) -> Vec<OomReport> {
        let mut oom = Oom::default();
        lines.iter().filter_map(|line| oom.hear(line)).collect()
    }

    #[test]
    fn a_record_is_its_sequence_and_its_first_line() {
        let record =
            "4,1208,90311822,-;memory: usage 65536kB, limit 65536kB, failcnt 31\n SUBSYSTEM=x\n";
        assert_eq!(
            parse(record),
            Some((1208, "memory: usage 65536kB, limit 65536kB, failcnt 31"))
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_kill_at_a_cgroups_limit_names_cgroup_limit_and_size() {
        let told = reports(&[
            "python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
            "memory: usage 65536kB, limit 65536kB, failcnt 31",
            "memory+swap: usage 65536kB, limit 9007199254740988kB, failcnt 0",
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/shop,task_memcg=/shop/w,task=python3,pid=4127,uid=0",
            "Memory cgroup out of memory: Killed process 4127 (python3) total-vm:91012kB, anon-rss:61240kB, file-rss:6144kB, shmem-rss:0kB, UID:0 pgtables:204kB oom_score_adj:0",
        ]);
        let expected = OomReport {
            pid: Pid(4127),
            by_cgroup: true,
            cgroup: Some("/shop".into()),
            limit_kib: Some(65536),
            rss_kib: Some(61240),
        };
        assert_eq!(told, [expected]);
    }

    #[test]
    fn a_kill_for_the_hosts_memory_names_no_cgroup() {
        let told = reports(&[
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/shop,task=python3,pid=9,uid=0",
            "Out of memory: Killed process 9 (python3) total-vm:1kB, anon-rss:2kB, file-rss:0kB",
        ]);
        assert_eq!(told.len(), 1);
        assert!(!told[0].by_cgroup && told[0].cgroup.is_none() && told[0].rss_kib == Some(2));
    }

    #[test]
    fn a_rate_limited_kill_does_not_inherit_anothers_limit() {
        let told = reports(&[
            "memory: usage 1kB, limit 64kB, failcnt 31",
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task=a",
            "Memory cgroup out of memory: Killed process 1 (a) total-vm:1kB, anon-rss:2kB",
            "Memory cgroup out of memory: Killed process 2 (b) total-vm:1kB, anon-rss:2kB",
        ]);
        assert_eq!(told[0].limit_kib, Some(64));
        assert_eq!(told[1].limit_kib, None);
    }

    #[test]
    fn a_kill_does_not_inherit_the_limit_of_one_that_was_leaving_by_itself() {
        let told = reports(&[
            "memory: usage 1kB, limit 64kB, failcnt 31",
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a,task=a",
            "Memory cgroup out of memory: OOM victim 1 (a) is already exiting. Skip killing the task",
            "Memory cgroup out of memory: Killed process 2 (b) total-vm:1kB, anon-rss:2kB",
        ]);
        assert_eq!((&told[0].cgroup, told[0].limit_kib), (&None, None));
    }

    #[test]
    fn another_device_in_its_place_is_not_the_log() {
        let opened = KernelLog::open_at("/dev/null").map(drop);
        assert_eq!(
            opened.unwrap_err().to_string(),
            "it is not the kernel's log"
        );
    }

    #[test]
    fn a_line_that_comes_in_pieces_names_its_cgroup() {
        let told = reports(&[
            "memory: usage 64kB, limit 64kB, failcnt 31",
            "Memory cgroup stats for ",
            "/shop",
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)",
            ",oom_memcg=",
            "/shop",
            "/shop/w",
            "Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB, anon-rss:2kB",
            "memory: usage 9kB, limit 9kB, failcnt 1",
            "Memory cgroup out of memory: Killed process 8 (b) total-vm:1kB, anon-rss:2kB",
        ]);
        assert_eq!(told[0].cgroup.as_deref(), Some("/shop"));
        assert_eq!(told[0].limit_kib, Some(64));
        assert_eq!((&told[1].cgroup, told[1].limit_kib), (&None, None));
    }

    #[test]
    fn the_hooks_lines_are_read_as_far_as_they_hold() {
        let mut lines = LogLines::default();
        let mut hear = |text: &str, kind| {
            let mut line = LogLine::new_zeroed();
            line.header.kind = kind;
            line.header.at = 7;
            line.length = u32::try_from(text.len()).unwrap();
            line.text = [b'x'; probe502_common::LOGGED];
            line.text[..text.len()].copy_from_slice(text.as_bytes());
            lines.hear(line.as_bytes())
        };
        let killed = "Out of memory: Killed process 9";
        assert_eq!(hear(killed, kind::DEATH), None);
        assert_eq!(hear("memory: ", kind::LOG_LINE), Some(None));
        let told = hear(killed, kind::LOG_LINE).flatten().unwrap();
        assert_eq!(told.at, Timestamp(7));
        assert!(matches!(told.fact, Fact::OomReport(report) if report.pid == Pid(9)));
        assert_eq!(lines.hear(&[12, 0]), None);
    }

    #[test]
    fn other_lines_report_nothing() {
        assert!(
            reports(&[
                "eth0: link up",
                "",
                "oom-kill:",
                "Out of memory: Killed process x"
            ])
            .is_empty()
        );
    }
}
