//! What the correlator does about UNIX upstreams and failed calls.

use super::Correlator;
use crate::asking::Wish;
use crate::event::{Fact, Flow, Process, Role, Task};
use crate::units::{Pid, Timestamp};
use crate::unix::Call;
use crate::unix_listeners::UnixListener;

impl Correlator {
    /// Facts that only UNIX sockets and failed calls have.
    pub(super) fn of_unix(&mut self, at: Timestamp, fact: Fact) {
        if let Fact::Dialler(dialler) = fact {
            if dialler.before {
                self.memory.unix.pools(at, dialler.pid);
            } else {
                self.dials_unix(at, dialler.pid);
            }
        } else if let Fact::Looked(looked) = fact {
            self.asking.about_path(at, &looked, &self.memory.processes);
            self.memory.unix.look(at, looked);
        } else if let Fact::Call(call) = fact {
            self.call_failed(at, call);
        }
    }

    /// Who listens on a path.
    pub(super) fn listens_on_a_path(&mut self, at: Timestamp, listener: UnixListener) {
        self.asking.name(at, listener.pid, &self.memory.processes);
        self.memory.unix_listeners.see(at, listener);
    }

    /// A dialled connection was told of. Where a UNIX dial failed, the path is looked at once, and
    /// the calls that follow are watched: the next failure is proven.
    pub(super) fn dialled(&mut self, at: Timestamp, flow: &Flow) {
        let (Some(path), Some(task)) = (&flow.path, flow.task.as_ref().or(flow.owner.as_ref()))
        else {
            if flow.role == Role::Dialled {
                self.memory.dial(at, flow);
            }
            return;
        };
        if flow.established || !self.is_gateway(task) {
            return;
        }
        let (pid, path) = (task.pid, path.clone());
        self.asking.look(at, Wish::Path { pid, path });
        self.watch(at);
        self.asking.look(at, Wish::Calls);
    }

    /// A process dials UNIX sockets: if it serves others, its connections are worth watching.
    fn dials_unix(&mut self, at: Timestamp, pid: Pid) {
        self.memory.unix.dials(at, pid);
        match self.memory.processes.known(pid).cloned() {
            Some(known) => self.watch_unix(at, &known),
            None => self.asking.look(at, Wish::Process(pid)),
        }
    }

    /// Who a process is, as it was asked for.
    pub(super) fn met(&mut self, at: Timestamp, process: Process) {
        if self.memory.unix.is_dialler(process.pid) {
            self.watch_unix(at, &process);
        }
        self.memory.processes.meet(at, process);
    }

    fn watch_unix(&mut self, at: Timestamp, process: &Process) {
        let task = Task {
            pid: process.pid,
            parent: process.parent,
            comm: process.comm.clone(),
            ..Task::default()
        };
        if self.is_gateway(&task) {
            self.watch(at);
        }
    }

    fn watch(&mut self, at: Timestamp) {
        self.memory.unix.watch(at);
        self.asking.look(at, Wish::Unix);
    }

    /// It has answered with a failure, or it or its master listens.
    fn is_gateway(&self, task: &Task) -> bool {
        let listens = self.memory.listeners.of(task).next().is_some();
        listens || self.gateways.get(&task.pid).is_some()
    }

    /// A call failed: it may tell why a dial did.
    fn call_failed(&mut self, at: Timestamp, call: Call) {
        self.attempts.called(at, &call);
        self.memory.unix.call(at, call);
    }
}
