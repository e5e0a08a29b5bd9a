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
use crate::senses::kmsg::KernelLog;
use rows::ROWS;

mod fixes;
mod rows;

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
    /// What to do where it is missing.
    pub fix: Option<&'static str>,
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

impl HookState {
    /// Whether it is at work.
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Attached)
    }
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
        let mut fix = None;
        let state = match not_chosen(row, options, &hooks) {
            Some(reason) => HookState::NotChosen(reason),
            None => match attach_row(programs, row, types, &btf, &cgroup) {
                Ok(()) if matches!(row.place, Place::OnCall(_)) => HookState::OnCall,
                Ok(()) => HookState::Attached,
                Err(error) => {
                    fix = Some(fixes::fix(row.place, &error, cgroup.is_ok()));
                    HookState::Missing(reason(&error))
                }
            },
        };
        hooks.push(Hook {
            name: row.name,
            attach: place(row.place),
            without: row.without,
            state,
            fix,
        });
    }
    replace_the_cheapest(&mut hooks);
    Ok(hooks)
}

fn is_attached(name: &str, hooks: &[Hook]) -> bool {
    hooks
        .iter()
        .any(|hook| hook.name == name && hook.state.is_attached())
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
        "body_in" | "body_out" | "body_said" if !options.silent => {
            Some("only --silent asks for it".into())
        }
        "body_said" if !is_attached("tcp_sendmsg", so_far) => Some("body_out sees the same".into()),
        "log_line" if KernelLog::open().is_ok() => Some("/dev/kmsg tells the same".into()),
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
