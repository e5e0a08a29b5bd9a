//! `doctor`: what this kernel and these privileges can and cannot prove.

use std::io::Write as _;

use serde::Serialize;

use crate::exit::Ending;
use crate::kernel::{Blocked, Hook, HookState, Kernel, Options};
use crate::output::paint::Paint;
use crate::privilege;
use crate::senses::kmsg::KernelLog;
use crate::senses::proc;

/// Say what this kernel and these privileges can and cannot prove
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
    /// Attach what `--silent` needs, too
    #[arg(long)]
    pub silent: bool,
}

/// Doctor's own forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A table.
    Text,
    /// One JSON object.
    Json,
}

/// How it is with one sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    NotNeeded,
    OnCall,
    Missing,
}

/// A hook, or a sense of user space.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    attach: String,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    without: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'static str>,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    kernel: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    hooks: Vec<Row>,
}

/// Attaches every hook, says how it went, and lets go again.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let attached = attach(arguments.silent);
    let blocked = attached
        .as_ref()
        .err()
        .filter(|error| error.is::<Blocked>());
    let blocked = blocked.map(|error| format!("{error:#}"));
    let rows = match &attached {
        Ok(kernel) => kernel
            .hooks()
            .iter()
            .map(hook)
            .chain([kernel_log(kernel), processes()])
            .collect(),
        Err(_) => Vec::new(),
    };
    let missing: Vec<&Row> = rows
        .iter()
        .filter(|row| row.state == State::Missing)
        .collect();
    let degraded = missing
        .iter()
        .map(|row| row.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let state = match (&attached, degraded.as_str()) {
        (Err(_), _) => "blocked",
        (Ok(_), "") => "ok",
        (Ok(_), _) => "degraded",
    };
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let schema = "probe502.doctor/1";
    let report = Report {
        schema,
        kernel,
        state,
        reason: blocked,
        hooks: rows,
    };
    let told = match arguments.output {
        Form::Text => table(&report, Paint::stdout()),
        Form::Json => serde_json::to_string(&report)? + "\n",
    };
    std::io::stdout().write_all(told.as_bytes())?;
    attached?;
    if degraded.is_empty() {
        Ok(())
    } else {
        Err(Ending::Degraded(degraded).into())
    }
}

fn attach(silent: bool) -> anyhow::Result<Kernel> {
    privilege::check()?;
    Kernel::attach(&Options {
        silent,
        ..Options::default()
    })
}

fn hook(hook: &Hook) -> Row {
    let (state, reason) = match &hook.state {
        HookState::Attached => (State::Ok, None),
        HookState::OnCall => (
            State::OnCall,
            Some("attached only while a gateway gives reason".into()),
        ),
        HookState::NotChosen(why) => (State::NotNeeded, Some(why.clone())),
        HookState::Missing(why) => (State::Missing, Some(why.clone())),
    };
    Row {
        name: hook.name.to_owned(),
        attach: hook.attach.to_owned(),
        state,
        reason,
        without: hook.without.to_owned(),
        fix: hook.fix.filter(|_| state == State::Missing),
    }
}

/// No pod has the device: a hook stands in for it there.
fn kernel_log(kernel: &Kernel) -> Row {
    let mut row = sense(
        ("kernel-log", "/dev/kmsg"),
        KernelLog::open().err(),
        "process.oom.*: whose limit an OOM kill was for",
        "grant CAP_SYSLOG, and pass /dev/kmsg into a container",
    );
    let is_told = |hook: &Hook| hook.name == "log_line" && hook.state.is_attached();
    if row.state == State::Missing && kernel.hooks().iter().any(is_told) {
        let why = row.reason.unwrap_or_default();
        row.reason = Some(format!("log_line tells the same; {why}"));
        (row.state, row.fix) = (State::NotNeeded, None);
    }
    row
}

/// Process 1 is another user's for everyone who may not look.
fn processes() -> Row {
    sense(
        ("processes", "/proc/<pid>/fd"),
        std::fs::read_dir(proc::path(probe502_core::units::Pid(1), "fd")).err(),
        "listener.*: owners of listeners that were there before",
        "grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, use the host's /proc",
    )
}

/// A sense of user space, and what bars it.
fn sense(
    (name, attach): (&str, &str),
    barred: Option<impl ToString>,
    without: &str,
    fix: &'static str,
) -> Row {
    let state = if barred.is_some() {
        State::Missing
    } else {
        State::Ok
    };
    Row {
        name: name.to_owned(),
        attach: attach.to_owned(),
        state,
        fix: barred.is_some().then_some(fix),
        reason: barred.map(|error| error.to_string()),
        without: without.to_owned(),
    }
}

fn table(report: &Report, paint: Paint) -> String {
    let width = |of: fn(&Row) -> &str| {
        report
            .hooks
            .iter()
            .map(|row| of(row).len())
            .max()
            .unwrap_or(0)
    };
    let (names, attaches) = (width(|row| &row.name), width(|row| &row.attach));
    let mut out = format!("kernel {}: {}\n", report.kernel, paint.bold(report.state));
    for row in &report.hooks {
        let state = match row.state {
            State::Ok => paint.green("ok       "),
            State::NotNeeded => paint.faint("not used "),
            State::OnCall => paint.faint("on call  "),
            State::Missing => paint.red("missing  "),
        };
        out.push_str(&format!(
            "{state}{:names$}  {:attaches$}",
            row.name, row.attach
        ));
        match row.state {
            State::Ok => {}
            State::NotNeeded | State::OnCall => {
                out.push_str(&format!("  {}", row.reason.as_deref().unwrap_or("")))
            }
            State::Missing => out.push_str(&lost(row)),
        }
        out.push('\n');
    }
    out.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn lost(row: &Row) -> String {
    let fix = row
        .fix
        .map(|fix| format!("\n         fix:  {fix}"))
        .unwrap_or_default();
    let reason = row.reason.as_deref().unwrap_or("");
    format!("  {reason}\n         lost: {}{fix}", row.without)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: State) -> Row {
        Row {
            name: name.to_owned(),
            attach: "tp_btf/x".to_owned(),
            state,
            reason: (state != State::Ok).then(|| "because".to_owned()),
            without: "app.x".to_owned(),
            fix: (state == State::Missing).then_some("do y"),
        }
    }

    #[test]
    fn the_table_says_what_is_lost_and_how_to_fix_it() {
        let report = Report {
            schema: "probe502.doctor/1",
            kernel: "6.18".to_owned(),
            state: "degraded",
            reason: None,
            hooks: vec![
                row("reset", State::Ok),
                row("egress", State::NotNeeded),
                row("drop", State::Missing),
            ],
        };
        let expected = "\
kernel 6.18: degraded
ok       reset   tp_btf/x
not used egress  tp_btf/x  because
missing  drop    tp_btf/x  because
         lost: app.x
         fix:  do y
";
        assert_eq!(table(&report, Paint::Plain), expected);
    }
}
