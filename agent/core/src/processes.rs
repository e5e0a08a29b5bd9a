//! Who lives, who ended, and who ended whom.

use std::time::Duration;

use crate::event::{Death, OomReport, Process, Signal, Task};
use crate::recent::Recent;
use crate::senders;
use crate::units::{Pid, Timestamp};
use crate::verdict::Who;
use crate::who::Pods;

/// Signals that say "stop" and that a program may answer with an exit of its own.
const STOPPING: [u8; 4] = [2, 3, 6, 15];
/// Signals by which the kernel, or a program itself, ends a faulty program:
/// ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS.
const FAULTS: [u8; 7] = [4, 5, 6, 7, 8, 11, 31];
/// How long before its end a stop may have been asked for: gunicorn's grace. A judgement of ours.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Signals that some runtimes answer with a dump of their threads, and live on: QUIT, ABRT. An exit
/// is theirs only if it follows soon. A judgement of ours.
const DUMPING: [u8; 2] = [3, 6];
const DUMP_GRACE: Duration = Duration::from_secs(2);
/// Who closes so soon after it was told to stop does as it was told. A judgement of ours.
const OBEYS: Duration = Duration::from_millis(50);
/// A master that is told to stop tells its workers at once. What it does to them later may have its
/// own reasons: uWSGI's master reloads on TERM and lives on. A judgement of ours.
const PASSED_ON: Duration = Duration::from_secs(2);
/// A master's death and the signal that the kernel then sends for it lie this close together.
const TOGETHER: Duration = Duration::from_millis(5);

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub task: Task,
    /// By what.
    pub way: Way,
    /// Its end was seen; else it was told to stop, and did as those do who stop.
    pub gone: bool,
}

/// What ended a process.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// The OOM killer; the kernel log's word on it where it came.
    Oom(Option<OomReport>),
    /// Its own fault.
    Crash {
        /// The signal.
        signal: u8,
        /// A core dump was written.
        core: bool,
    },
    /// It called `exit`.
    Exit(u8),
    /// Another process's signal.
    Signalled {
        /// Whose.
        by: By,
        /// The signal.
        signal: Signal,
        /// When it was sent.
        sent: Timestamp,
        /// The exit status, where it caught the signal and exited by itself.
        status: Option<u8>,
        /// What its master had been told before, where its master sent this signal.
        order: Option<(Timestamp, Signal)>,
    },
    /// A signal whose sender is not known, or the kernel.
    Killed(u8),
}

impl Ending {
    /// Whether another process had asked it to stop.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        matches!(&self.way, Way::Signalled { signal, .. } if STOPPING.contains(&signal.number))
    }

    /// Whether it left by itself, in good order, or as it was asked to.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        match &self.way {
            Way::Exit(status) => *status == 0,
            Way::Signalled { status, .. } => *status == Some(0),
            Way::Oom(_) | Way::Crash { .. } | Way::Killed(_) => false,
        }
    }
}

/// In whose name a signal was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its master.
    Parent,
    /// An init system or a container runtime.
    Runtime,
    /// A person or a script.
    User,
    /// A program that guards the memory.
    Guard,
}

/// Every process that matters, bounded.
#[derive(Debug)]
pub struct Processes {
    known: Recent<Pid, (Timestamp, Process)>,
    deaths: Recent<Pid, (Timestamp, Death)>,
    signals: Recent<(Pid, Timestamp, u8), Signal>,
    victims: Recent<Pid, Timestamp>,
    reports: Recent<Pid, (Timestamp, OomReport)>,
    /// What the cluster calls their pods.
    pub pods: Pods,
}

impl Default for Processes {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            known: Recent::new(8192, Duration::MAX),
            deaths: Recent::new(4096, hour),
            signals: Recent::new(4096, hour),
            victims: Recent::new(1024, hour),
            reports: Recent::new(1024, hour),
            pods: Pods::default(),
        }
    }
}

impl Processes {
    /// How many there are, and how many there may be.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.known.held()
    }

    /// Someone was named.
    pub fn meet(&mut self, at: Timestamp, process: Process) {
        self.known.insert(at, process.pid, (at, process));
    }

    /// Someone ended: its last thread speaks for it, once. A number may be used again soon.
    pub fn bury(&mut self, at: Timestamp, death: Death) {
        self.deaths.insert(at, death.task.pid, (at, death));
    }

    /// A signal was sent.
    pub fn signal(&mut self, at: Timestamp, signal: Signal) {
        self.signals
            .insert(at, (signal.target.pid, at, signal.number), signal);
    }

    /// The OOM killer chose.
    pub fn choose(&mut self, at: Timestamp, pid: Pid) {
        self.victims.insert(at, pid, at);
    }

    /// The kernel log told.
    pub fn report(&mut self, at: Timestamp, report: OomReport) {
        self.reports.insert(at, report.pid, (at, report));
    }

    /// What is known of a process.
    #[must_use]
    pub fn known(&self, pid: Pid) -> Option<&Process> {
        self.known.get(&pid).map(|(_, process)| process)
    }

    /// A process as a task, by what is known of it.
    #[must_use]
    pub fn task(&self, pid: Pid) -> Task {
        let known = self.known(pid);
        Task {
            pid,
            tid: pid.0,
            parent: known.map(|known| known.parent).unwrap_or_default(),
            uid: 0,
            comm: known.map(|known| known.comm.clone()).unwrap_or_default(),
        }
    }

    /// How a process ended that was alive at a moment.
    #[must_use]
    pub fn ending(&self, pid: Pid, alive: Timestamp) -> Option<Ending> {
        let (at, death) = self.deaths.get(&pid).filter(|(at, _)| *at >= alive)?;
        let ending = |at: Timestamp, death: &Death| Ending {
            at,
            task: death.task.clone(),
            way: self.way(at, death),
            gone: true,
        };
        let own = ending(*at, death);
        // Asked to die with its master (`PR_SET_PDEATHSIG`), it has the master's signal.
        if let Way::Signalled { signal, sent, .. } = &own.way
            && let Some((died, sender)) = self.deaths.get(&signal.sender.pid)
            && died <= sent
            && sent.since(*died) <= TOGETHER
        {
            return Some(ending(*died, sender));
        }
        Some(own)
    }

    /// The same end by what began it, where whoever killed the process had asked it to stop before it
    /// closed: a slow one is killed while it stops.
    #[must_use]
    pub fn finished_off(&self, ending: Ending, closed: Timestamp) -> Option<Ending> {
        let Way::Signalled { signal, .. } = &ending.way else {
            return None;
        };
        let (sent, asked) = self.stop_before(ending.task.pid, closed)?;
        let way = self.signalled(asked, sent, None);
        (asked.sender.pid == signal.sender.pid).then_some(Ending { way, ..ending })
    }

    /// The end to come of a process that closed as soon as another had told it to stop: its exit may be
    /// held up.
    #[must_use]
    pub fn stopping(&self, task: &Task, closed: Timestamp) -> Option<Ending> {
        let (sent, asked) = self.stop_before(task.pid, closed)?;
        (closed.since(sent) <= OBEYS).then(|| Ending {
            at: closed,
            task: task.clone(),
            way: self.signalled(asked, sent, None),
            gone: false,
        })
    }

    /// The last request to stop that another process sent to this one in the grace before a moment.
    #[must_use]
    pub fn stop_before(&self, pid: Pid, moment: Timestamp) -> Option<(Timestamp, &Signal)> {
        let mut signals = self.signals_to(pid, moment).rev();
        signals.find(|(sent, signal)| {
            let asked = STOPPING.contains(&signal.number) && !signal.kernel;
            let grace = if DUMPING.contains(&signal.number) {
                DUMP_GRACE
            } else {
                STOP_GRACE
            };
            asked && signal.sender.pid != pid && moment.since(*sent) <= grace
        })
    }

    /// Whether another process asked this one to stop or to reload, or ended it, since then.
    #[must_use]
    pub fn is_turned_off(&self, pid: Pid, since: Timestamp, until: Timestamp) -> bool {
        let mut signals = self.signals_to(pid, until);
        signals.any(|(sent, signal)| sent >= since && signal.sender.pid != pid)
    }

    /// Whether it was struck by a fault until then.
    #[must_use]
    pub fn is_struck(&self, pid: Pid, until: Timestamp) -> bool {
        let mut signals = self.signals_to(pid, until).rev();
        signals.any(|(_, signal)| FAULTS.contains(&signal.number))
    }

    fn way(&self, at: Timestamp, death: &Death) -> Way {
        let pid = death.task.pid;
        let near = |moment: Timestamp| at.since(moment) <= STOP_GRACE;
        if death.signal == Some(9) && self.victims.get(&pid).is_some_and(|chosen| near(*chosen)) {
            let report = self.reports.get(&pid).filter(|(told, _)| near(*told));
            return Way::Oom(report.map(|(_, report)| report.clone()));
        }
        let Some(number) = death.signal else {
            let status = death.status.unwrap_or(0);
            return match self.stop_before(pid, at) {
                Some((sent, signal)) => self.signalled(signal, sent, Some(status)),
                None => Way::Exit(status),
            };
        };
        let sent = self
            .signals_to(pid, at)
            .rev()
            .find(|(sent, signal)| signal.number == number && at.since(*sent) <= STOP_GRACE);
        match sent {
            Some((_, signal)) if signal.kernel || signal.sender.pid == pid => {
                if !FAULTS.contains(&number)
                    && let Some((sent, asked)) = self.stop_before(pid, at)
                {
                    // It caught the signal, cleaned up, and raised it at itself.
                    return self.signalled(asked, sent, None);
                }
                if FAULTS.contains(&number) {
                    Way::Crash {
                        signal: number,
                        core: death.core,
                    }
                } else {
                    Way::Killed(number)
                }
            }
            Some((sent, signal)) => self.signalled(signal, sent, None),
            None => Way::Killed(number),
        }
    }

    fn signalled(&self, signal: &Signal, sent: Timestamp, status: Option<u8>) -> Way {
        let by = self.sender(signal);
        let order = (by == By::Parent)
            .then(|| self.order_of(signal.sender.pid, sent))
            .flatten();
        Way::Signalled {
            by: order.as_ref().map_or(by, |(_, order)| self.sender(order)),
            signal: signal.clone(),
            sent,
            status,
            order,
        }
    }

    /// What a master was told before it stopped a worker: to stop itself.
    fn order_of(&self, master: Pid, sent: Timestamp) -> Option<(Timestamp, Signal)> {
        let mut orders = self.signals_to(master, sent).rev();
        let (at, order) = orders.find(|(at, order)| {
            let is_stop = STOPPING.contains(&order.number) && order.sender.pid != master;
            is_stop && sent.since(*at) <= PASSED_ON
        })?;
        Some((at, order.clone()))
    }

    fn sender(&self, signal: &Signal) -> By {
        let sender = &signal.sender;
        let named = |is: fn(&str) -> bool| {
            let known = self.known(sender.pid);
            let exe = known.and_then(|known| known.exe.as_deref()?.rsplit('/').next());
            let script = known.and_then(|known| known.script.as_deref());
            let names = [Some(sender.comm.as_str()), exe, script];
            names.into_iter().flatten().any(is)
        };
        if named(senders::is_guard) {
            By::Guard
        } else if named(senders::is_runtime) {
            By::Runtime
        } else if named(senders::is_shell) || sender.pid != signal.target.parent {
            By::User
        } else {
            By::Parent
        }
    }

    fn signals_to(
        &self,
        pid: Pid,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = (Timestamp, &Signal)> {
        let (first, last) = ((pid, Timestamp(0), 0), (pid, until, u8::MAX));
        self.signals
            .between(first, last)
            .map(|((_, sent, _), signal)| (*sent, signal))
    }

    /// A task by all that is known; what a worker's own record lacks, its master's may tell.
    #[must_use]
    pub fn who(&self, task: &Task, at: Timestamp) -> Who {
        let bare = Who {
            pid: task.pid,
            comm: task.comm.clone(),
            ..Who::default()
        };
        let of = |pid| {
            let (met, process) = self.known.get(&pid)?;
            let dead = self.deaths.get(&pid).map(|(died, _)| *died);
            let reused =
                dead.is_some_and(|died| *met <= died && at.since(died) > Duration::from_secs(60));
            (!reused).then_some(process)
        };
        let own = of(task.pid);
        let master = of(task.parent).filter(|parent| parent.comm == task.comm);
        let comm = own.map_or(&bare.comm, |own| &own.comm).clone();
        match (own, master) {
            (Some(own), master) => (self.pods).who((task.pid, comm), &own.completed(master)),
            (None, Some(master)) => self.pods.who((task.pid, comm), master),
            (None, None) => bare,
        }
    }
}
