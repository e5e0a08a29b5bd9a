//! The kernel's side of the agent: load the object, attach its hooks, read what it reports.

mod btf;
mod cgroup;
mod hooks;
mod layout;
mod on_call;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Instant;

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use flate2::read::DeflateDecoder;
use probe502_common::kind;
use probe502_core::decode::Names;
use probe502_core::units::Timestamp;
use zerocopy::IntoBytes as _;

use btf::KernelTypes;
pub use hooks::{Hook, HookState};
use on_call::OnCall;

/// The kernel programs, built by `cargo xtask ebpf` and committed; `build.rs` compresses them.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/object.deflate"));

/// The oldest kernel with socket storage in tracing programs (`net/core/bpf_sk_storage.c`).
const FLOOR: (u32, u32) = (5, 15);

/// The object's bytes, where numbers lie as an ELF file's reader wants them.
fn object() -> anyhow::Result<Vec<u64>> {
    let mut bytes = Vec::new();
    DeflateDecoder::new(OBJECT).read_to_end(&mut bytes)?;
    let mut object = vec![0u64; bytes.len().div_ceil(size_of::<u64>())];
    object.as_mut_bytes()[..bytes.len()].copy_from_slice(&bytes);
    Ok(object)
}

/// What the kernel programs are to watch.
pub struct Options {
    /// Status codes of answers to report, 400 to 655.
    pub statuses: Vec<u16>,
    /// Report answers that break after their header too.
    pub silent: bool,
    /// Take answers from `cgroup_skb/egress` even where the cheaper hook exists.
    pub force_egress: bool,
    /// Bytes of the ring buffer: a power of two, a page at least.
    pub ring_bytes: u32,
}

/// The ring buffer's usual size: some 7,500 refused dials with their answers between two reads.
pub const RING: u32 = 8 << 20;

/// The daemon's: some 1,900. The kernel maps a ring twice, and all of it counts as resident memory.
pub const SMALL_RING: u32 = 2 << 20;

/// Whether a ring buffer can have so many bytes: a power of two, and whole pages (`bpf(2)`).
pub fn ring_of(bytes: u32) -> Result<u32, String> {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    let largest = 1 << 30;
    if bytes.is_power_of_two() && (page..=largest).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("it takes a power of two, {page} to {largest}"))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            statuses: vec![502],
            silent: false,
            force_egress: false,
            ring_bytes: RING,
        }
    }
}

/// Why the kernel programs cannot run here, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is missing")]
pub enum Blocked {
    #[error("{0}")]
    NoPrivilege(String),
    #[error("{0}")]
    NoBtf(String),
    #[error("{0}")]
    TooOld(String),
    #[error("{0}")]
    NoSight(String),
}

/// The attached programs. Dropping it detaches them.
pub struct Kernel {
    hooks: Vec<Hook>,
    names: Names,
    events: RingBuf<MapData>,
    counts: PerCpuArray<MapData, u64>,
    programs: Ebpf,
    on_call: OnCall,
}

/// What was read of the ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// How many records.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Kernel {
    /// Loads and attaches all that this kernel takes; what it refuses is named in [`Self::hooks`].
    pub fn attach(options: &Options) -> anyhow::Result<Self> {
        check_release(&rustix::system::uname().release().to_string_lossy())?;
        let types = KernelTypes::read()?;
        let layout = layout::of(&types, options);
        let mut programs = EbpfLoader::new()
            .override_global("LAYOUT", layout.as_bytes(), true)
            .map_max_entries("EVENTS", options.ring_bytes)
            .load(object()?.as_bytes())
            .context("the kernel refused the maps of probe502's object")?;
        let hooks = hooks::attach(&mut programs, &types, options)?;
        check_sight(&hooks)?;
        let events = programs
            .take_map("EVENTS")
            .context("the object has no map EVENTS")?;
        let counts = programs
            .take_map("COUNTS")
            .context("the object has no map COUNTS")?;
        Ok(Self {
            hooks,
            names: types.names(),
            events: RingBuf::try_from(events)?,
            counts: PerCpuArray::try_from(counts)?,
            programs,
            on_call: OnCall::default(),
        })
    }

    /// Watches failed system calls from now on for a while.
    pub fn watch_calls(&mut self, now: Instant) -> anyhow::Result<()> {
        let told = self.count(kind::CALL);
        self.on_call.watch_calls(&mut self.programs, (now, told))
    }

    /// Watches UNIX connections from now on; whether nobody had before.
    pub fn watch_unix(&mut self) -> anyhow::Result<bool> {
        self.on_call.watch_unix(&mut self.programs)
    }

    /// Whether UNIX connections are watched.
    pub fn watches_unix(&self) -> bool {
        self.on_call.watches_unix()
    }

    /// Lets go of what was attached for a while.
    pub fn rest(&mut self, now: Instant) -> anyhow::Result<()> {
        let told = self.count(kind::CALL);
        self.on_call.rest(&mut self.programs, (now, told))
    }

    /// Each hook, and whether it is attached.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// This kernel's names for its reasons.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// Hands over the records that wait, so many at most.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> Drained {
        let mut drained = Drained::default();
        while drained.records < most
            && let Some(record) = self.events.next()
        {
            each(&record);
            drained.records += 1;
            drained.bytes += record.len() as u64;
        }
        drained
    }

    /// Records that the kernel side could not send so far, because the ring was full, by kind.
    pub fn lost(&self) -> BTreeMap<&'static str, u64> {
        self.counts_from(kind::LOST)
    }

    /// Records that the kernel side sent so far, by kind.
    pub fn emitted(&self) -> BTreeMap<&'static str, u64> {
        self.counts_from(0)
    }

    fn counts_from(&self, first: u16) -> BTreeMap<&'static str, u64> {
        let count = |(number, name): &(u16, &'static str)| (*name, self.count(first + number));
        KINDS.iter().map(count).collect()
    }

    fn count(&self, kind: u16) -> u64 {
        let each = self.counts.get(&u32::from(kind), 0);
        each.map_or(0, |values| values.iter().sum())
    }
}

/// The kinds of records by the names that events have.
const KINDS: &[(u16, &str)] = &[
    (kind::ANSWERED, "answered"),
    (kind::ENDED, "ended"),
    (kind::HEARD, "heard"),
    (kind::RESET, "reset"),
    (kind::LISTENS, "listens"),
    (kind::LISTENED, "listened"),
    (kind::DEATH, "death"),
    (kind::SIGNAL, "signal"),
    (kind::VICTIM, "victim"),
    (kind::LOG_LINE, "log-line"),
    (kind::DROP, "drop"),
    (kind::OVERFLOW, "overflow"),
    (kind::UNIX_ENDED, "unix-ended"),
    (kind::UNIX_HEARD, "unix-heard"),
    (kind::UNIX_DIAL, "unix-dial"),
    (kind::CALL, "call"),
    (kind::UNIX_DIALLER, "unix-dialler"),
    (kind::UNIX_LISTENER, "unix-listener"),
    (kind::LOOKUP, "lookup"),
    (kind::UNMET, "unmet"),
    (kind::FORGOTTEN, "forgotten"),
];

/// `CLOCK_MONOTONIC`, the records' own clock (`bpf_ktime_get_ns`).
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Timestamp(seconds * 1_000_000_000 + nanos)
}

/// Socket storage in tracing programs shows in no BTF: the one thing that only the release tells.
fn check_release(release: &str) -> Result<(), Blocked> {
    let mut numbers = release
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Ok(());
    };
    if (major, minor) >= FLOOR {
        return Ok(());
    }
    Err(Blocked::TooOld(format!(
        "this kernel is {release}; probe502 needs Linux {}.{} or newer: it keeps what it must know \
         beside each socket, which older kernels do not allow",
        FLOOR.0, FLOOR.1
    )))
}

/// Without one of these no failed answer is ever seen: a watch would be deaf.
fn check_sight(hooks: &[Hook]) -> Result<(), Blocked> {
    let sees = |hook: &&Hook| matches!(hook.name, "tcp_sendmsg" | "packet_out");
    let mut reasons = Vec::new();
    for hook in hooks.iter().filter(sees) {
        match &hook.state {
            HookState::Attached => return Ok(()),
            HookState::OnCall => {}
            HookState::NotChosen(reason) | HookState::Missing(reason) => {
                reasons.push(format!("{}: {reason}", hook.name));
            }
        }
    }
    Err(Blocked::NoSight(format!(
        "no hook that sees answers leave could be attached, so none would ever be reported ({}); \
         it takes Linux 6.16, or a cgroup2 file system that probe502 may attach to",
        reasons.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_with_its_release() {
        let refused = check_release("5.10.0-32-amd64").expect_err("below the floor");
        assert!(refused.to_string().contains("5.10.0-32-amd64"));
        assert!(check_release("5.15.0").is_ok());
        assert!(check_release("6.18.44-fc-v669").is_ok());
        assert!(check_release("10.1").is_ok());
    }
}
