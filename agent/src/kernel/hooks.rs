//! The hooks as rows of one table: program, attach point, and what is lost without it.

use std::fs::File;

use anyhow::Context as _;
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr,
    Program, ProgramError,
};
use aya::{Btf, Ebpf};

use super::Options;
use super::btf::KernelTypes;
use super::cgroup;

/// One hook, as `doctor`, the metrics and the verdicts' honesty see it.
pub struct Hook {
    /// The program's name in the object.
    pub name: &'static str,
    /// Where it attaches.
    pub attach: &'static str,
    /// What cannot be told without it.
    pub without: &'static str,
    /// Whether it is attached.
    pub state: HookState,
}

/// Whether a hook is attached.
pub enum HookState {
    /// At work.
    Attached,
    /// Ready, and attached only while something asks for it: it is dear.
    OnCall,
    /// Left out, because another hook sees the same.
    NotChosen(String),
    /// Refused by this kernel, with the reason.
    Missing(String),
}

/// A row of the table.
struct Row {
    name: &'static str,
    place: Place,
    /// The arguments that the tracepoint needs to have for the program to be right.
    arguments: usize,
    without: &'static str,
}

/// Where a program attaches.
#[derive(Clone, Copy)]
enum Place {
    Tracepoint(&'static str),
    /// Loaded, and attached only while something asks for it.
    OnCall(&'static str),
    Ingress,
    Egress,
    Connect4,
    Connect6,
    Create,
}

const fn row(name: &'static str, place: Place, arguments: usize, without: &'static str) -> Row {
    Row {
        name,
        place,
        arguments,
        without,
    }
}

const ROWS: &[Row] = &[
    row(
        "set_state",
        Place::Tracepoint("inet_sock_set_state"),
        3,
        "connections, who closed them, and listeners",
    ),
    row(
        "set_state_twin",
        Place::Tracepoint("inet_sock_set_state"),
        3,
        "changes of state that come while another is told of",
    ),
    row(
        "destroy_sock",
        Place::Tracepoint("tcp_destroy_sock"),
        1,
        "refused and reset attempts",
    ),
    row(
        "destroy_sock_twin",
        Place::Tracepoint("tcp_destroy_sock"),
        1,
        "refused and reset attempts that end while another is told of",
    ),
    row(
        "tcp_sendmsg",
        Place::Tracepoint("tcp_sendmsg_locked"),
        2,
        "failed answers and forwarded requests at their cheapest (packet_out sees them too)",
    ),
    row(
        "packet_out",
        Place::Egress,
        0,
        "failed answers and forwarded requests on kernels without tcp_sendmsg_locked",
    ),
    row(
        "packet_in",
        Place::Ingress,
        0,
        "requests as clients sent them, upstreams' first bytes, relayed errors",
    ),
    row(
        "tcp_send_reset",
        Place::Tracepoint("tcp_send_reset"),
        2,
        "who reset or refused, and the kernel's reason",
    ),
    row(
        "tcp_send_reset_twin",
        Place::Tracepoint("tcp_send_reset"),
        2,
        "resets that are sent while another is told of",
    ),
    row(
        "tcp_receive_reset",
        Place::Tracepoint("tcp_receive_reset"),
        1,
        "resets that arrived",
    ),
    row(
        "tcp_receive_reset_twin",
        Place::Tracepoint("tcp_receive_reset"),
        1,
        "resets that arrive while another is told of",
    ),
    row(
        "inet_sk_error_report",
        Place::Tracepoint("inet_sk_error_report"),
        1,
        "ICMP errors that arrived",
    ),
    row(
        "process_exit",
        Place::Tracepoint("sched_process_exit"),
        1,
        "deaths of processes",
    ),
    row(
        "signal_sent",
        Place::Tracepoint("signal_generate"),
        3,
        "who killed a process",
    ),
    row(
        "oom_victim",
        Place::Tracepoint("mark_victim"),
        1,
        "OOM kills",
    ),
    row(
        "unix_ready",
        Place::OnCall("sk_data_ready"),
        1,
        "UNIX upstreams: dials, requests and answers",
    ),
    row(
        "unix_read",
        Place::OnCall("sock_recv_length"),
        3,
        "UNIX upstreams that closed or reset",
    ),
    row(
        "unix_written",
        Place::OnCall("sock_send_length"),
        3,
        "requests to UNIX upstreams that had gone",
    ),
    row(
        "unix_consumed",
        Place::Tracepoint("consume_skb"),
        1,
        "UNIX upstreams: who dials them, dials that failed, and answers",
    ),
    row(
        "call_failed",
        Place::OnCall("sys_exit"),
        2,
        "why a dial failed at once: descriptors, memory, policies, UNIX sockets",
    ),
    row(
        "kfree_skb",
        Place::Tracepoint("kfree_skb"),
        3,
        "packets that a firewall dropped, neighbours that do not answer",
    ),
    row(
        "dial4",
        Place::Connect4,
        0,
        "dials over IPv4 that fail before their first packet, questions to name servers",
    ),
    row(
        "dial6",
        Place::Connect6,
        0,
        "dials over IPv6 that fail before their first packet, questions to name servers",
    ),
    row(
        "socket_made",
        Place::Create,
        0,
        "that an answer is the gateway's own: it made no socket for it, not even one that failed",
    ),
    row(
        "route4",
        Place::Tracepoint("fib_table_lookup"),
        4,
        "why there was no route over IPv4",
    ),
    row(
        "route6",
        Place::Tracepoint("fib6_table_lookup"),
        4,
        "why there was no route over IPv6",
    ),
];

/// Attaches every row that this kernel takes; an error only where nothing could be seen at all.
pub fn attach(
    programs: &mut Ebpf,
    types: &KernelTypes,
    options: &Options,
) -> anyhow::Result<Vec<Hook>> {
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let cgroup = cgroup::root();
    let mut hooks: Vec<Hook> = Vec::new();
    for row in ROWS {
        let state = match not_chosen(row, options, &hooks) {
            Some(reason) => HookState::NotChosen(reason),
            None => match attach_row(programs, row, types, &btf, &cgroup) {
                Ok(()) if matches!(row.place, Place::OnCall(_)) => HookState::OnCall,
                Ok(()) => HookState::Attached,
                Err(error) => HookState::Missing(reason(&error)),
            },
        };
        hooks.push(Hook {
            name: row.name,
            attach: place(row.place),
            without: row.without,
            state,
        });
    }
    replace_the_cheapest(&mut hooks);
    Ok(hooks)
}

fn is_attached(name: &str, hooks: &[Hook]) -> bool {
    hooks
        .iter()
        .any(|hook| hook.name == name && matches!(hook.state, HookState::Attached))
}

/// Where the second of two hooks that see what leaves is at work, nothing is lost without the first.
fn replace_the_cheapest(hooks: &mut [Hook]) {
    let is_seen = is_attached("packet_out", hooks);
    let first = hooks.iter_mut().find(|hook| hook.name == "tcp_sendmsg");
    if let Some(first) = first.filter(|_| is_seen)
        && let HookState::Missing(reason) = &first.state
    {
        first.state = HookState::NotChosen(format!("packet_out sees the same; {reason}"));
    }
}

/// Two hooks see what leaves: the second is for kernels that lack the first.
fn not_chosen(row: &Row, options: &Options, so_far: &[Hook]) -> Option<String> {
    match row.name {
        "tcp_sendmsg" if options.force_egress => Some("packet_out was asked for instead".into()),
        "packet_out" if is_attached("tcp_sendmsg", so_far) => {
            Some("tcp_sendmsg sees the same".into())
        }
        _ => None,
    }
}

/// One line: where the verifier refused a program, the last thing that it said.
fn reason(error: &anyhow::Error) -> String {
    if let Some(ProgramError::LoadError {
        io_error,
        verifier_log,
    }) = error.downcast_ref()
    {
        let log = verifier_log.to_string();
        let said = log
            .lines()
            .rfind(|line| line.contains(' ') && !is_statistic(line));
        return format!(
            "the kernel refused the program: {io_error}: {}",
            said.unwrap_or_default()
        );
    }
    format!("{error:#}")
}

/// The verifier ends with figures about its own work (`kernel/bpf/verifier.c`).
fn is_statistic(line: &str) -> bool {
    ["verification time", "stack depth", "processed"]
        .iter()
        .any(|start| line.starts_with(start))
}

fn attach_row(
    programs: &mut Ebpf,
    row: &Row,
    types: &KernelTypes,
    btf: &Btf,
    cgroup: &anyhow::Result<File>,
) -> anyhow::Result<()> {
    let program = programs
        .program_mut(row.name)
        .context("the object has no such program")?;
    let cgroup = cgroup
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error:#}"));
    match row.place {
        Place::Tracepoint(tracepoint) | Place::OnCall(tracepoint) => {
            let arguments = types
                .arguments(tracepoint)
                .context("this kernel has no such hook")?;
            let (has, needs) = (arguments.len(), row.arguments);
            anyhow::ensure!(
                has >= needs,
                "this kernel's hook has {has} arguments, not {needs}"
            );
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(tracepoint, btf)?;
            if !matches!(row.place, Place::OnCall(_)) {
                program.attach()?;
            }
        }
        Place::Ingress => packets(program, cgroup?, CgroupSkbAttachType::Ingress)?,
        Place::Egress => packets(program, cgroup?, CgroupSkbAttachType::Egress)?,
        Place::Connect4 | Place::Connect6 => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            program.attach(cgroup?, CgroupAttachMode::Single)?;
        }
        Place::Create => {
            let program: &mut CgroupSock = program.try_into()?;
            program.load()?;
            program.attach(cgroup?, CgroupAttachMode::Single)?;
        }
    }
    Ok(())
}

fn packets(
    program: &mut Program,
    cgroup: &File,
    direction: CgroupSkbAttachType,
) -> anyhow::Result<()> {
    let program: &mut CgroupSkb = program.try_into()?;
    program.load()?;
    program.attach(cgroup, direction, CgroupAttachMode::Single)?;
    Ok(())
}

const fn place(place: Place) -> &'static str {
    match place {
        Place::Tracepoint(name) | Place::OnCall(name) => name,
        Place::Ingress => "cgroup_skb/ingress",
        Place::Egress => "cgroup_skb/egress",
        Place::Connect4 => "cgroup/connect4",
        Place::Connect6 => "cgroup/connect6",
        Place::Create => "cgroup/sock_create",
    }
}
