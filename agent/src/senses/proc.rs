//! Who is who: a process's name, parent, command, container, pod and unit, from /proc.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use probe502_core::event::{Process, Task};
use probe502_core::units::{Netns, Pid};

use super::cgroup;

/// Every process that /proc shows, lowest first.
pub fn pids() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut pids: Vec<Pid> = names
        .filter_map(|name| name.parse().ok().map(Pid))
        .collect();
    pids.sort_unstable();
    pids
}

/// A file of a process.
pub fn path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.0))
}

/// How much of a command line is kept, in characters.
const COMMAND: usize = 256;

/// How a command line is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// The program, and that there are arguments: passwords and tokens may be among them.
    #[default]
    Redacted,
    /// As they are.
    Shown,
}

impl Arguments {
    /// Shown where that was asked for.
    pub fn shown(asked: bool) -> Self {
        if asked { Self::Shown } else { Self::Redacted }
    }
}

/// Who a process is; `None` once it has gone.
pub fn identify(pid: Pid, shown: Arguments) -> Option<Process> {
    let (comm, parent) = comm_and_parent(&read(pid, "stat")?)?;
    let exe = fs::read_link(path(pid, "exe")).ok();
    let exe = exe.map(|exe| {
        exe.to_string_lossy()
            .trim_end_matches(" (deleted)")
            .to_owned()
    });
    let place = cgroup::place(&read(pid, "cgroup").unwrap_or_default());
    // Of a process that is being killed the memory may be gone already, and with it half a line.
    let cmdline = read(pid, "cmdline").filter(|_| !is_killed(pid));
    let arguments = arguments(cmdline.as_deref().unwrap_or_default());
    let script = script(&arguments).filter(|script| *script != comm);
    Some(Process {
        pid,
        parent,
        comm,
        exe,
        script,
        command: command(&arguments, shown),
        container: place.container,
        runtime: place.runtime.map(str::to_owned),
        pod: place.pod,
        unit: place.unit,
    })
}

/// The same as a task, for facts whose record has none.
pub fn task(pid: Pid) -> Option<Task> {
    let (comm, parent) = comm_and_parent(&read(pid, "stat")?)?;
    let uid = fs::metadata(path(pid, "")).ok()?.uid();
    Some(Task {
        pid,
        tid: pid.0,
        parent,
        uid,
        comm,
    })
}

/// The network namespace that a process lives in.
pub fn netns(pid: Pid) -> Option<Netns> {
    let link = fs::read_link(path(pid, "ns/net")).ok()?;
    bracketed(link.to_str()?, "net:")?
        .try_into()
        .ok()
        .map(Netns)
}

/// The number in `kind[number]`, as links to sockets and namespaces name it.
pub fn bracketed(link: &str, kind: &str) -> Option<u64> {
    link.strip_prefix(kind)?
        .strip_prefix('[')?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn read(pid: Pid, file: &str) -> Option<String> {
    let bytes = fs::read(path(pid, file)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether it must die at once: SIGKILL waits for one of its threads, or for all (proc_pid_status(5)).
fn is_killed(pid: Pid) -> bool {
    read(pid, "status").is_none_or(|status| kill_waits(&status))
}

fn kill_waits(status: &str) -> bool {
    const KILL: u64 = 1 << (9 - 1);
    let pending = |line: &str| {
        let mask = line
            .strip_prefix("SigPnd:")
            .or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    (status.lines().filter_map(pending)).any(|mask| mask & KILL != 0)
}

/// From proc_pid_stat(5): `pid (comm) state ppid …`. A name may itself hold brackets and spaces.
fn comm_and_parent(stat: &str) -> Option<(String, Pid)> {
    let (before, after) = (stat.find('(')?, stat.rfind(')')?);
    let comm = stat.get(before + 1..after)?.to_owned();
    let parent = stat
        .get(after + 1..)?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    Some((comm, Pid(parent)))
}

fn arguments(cmdline: &str) -> Vec<&str> {
    cmdline.trim_end_matches('\0').split('\0').collect()
}

/// The command line as it may be shown; a title that a program gave itself is one argument.
fn command(arguments: &[&str], shown: Arguments) -> Option<String> {
    let (first, rest) = arguments.split_first()?;
    let program = first.split_whitespace().next()?;
    let line = match shown {
        Arguments::Shown => arguments.join(" "),
        Arguments::Redacted if rest.is_empty() && program == *first => program.to_owned(),
        Arguments::Redacted => format!("{program} […]"),
    };
    let mut kept: String = line.chars().take(COMMAND).collect();
    if kept.len() < line.len() {
        kept.push('…');
    }
    Some(kept)
}

/// Programs that run another's text, with the options of theirs that take a value.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["-W", "-X"]),
    ("pypy", &["-W", "-X"]),
    ("node", &["-r", "--require", "--import"]),
    ("ruby", &["-I", "-r"]),
    ("perl", &["-I"]),
    ("php", &["-d", "-c"]),
    ("bash", &["-o"]),
    ("sh", &["-o"]),
    (
        "java",
        &["-cp", "-classpath", "--class-path", "-p", "--module-path"],
    ),
];

/// The script's name where an interpreter runs one: `gunicorn`, `app.py`, `http.server`.
fn script(arguments: &[&str]) -> Option<String> {
    let (first, rest) = arguments.split_first()?;
    // setproctitle rewrites the whole line: "gunicorn: worker [app]".
    if let Some((title, _)) = first
        .split_once(": ")
        .filter(|(title, _)| !title.contains('/'))
    {
        return Some(title.to_owned());
    }
    let program =
        base_name(first).trim_end_matches(|last: char| last.is_ascii_digit() || last == '.');
    let (_, valued) = INTERPRETERS.iter().find(|(name, _)| *name == program)?;
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "-m" | "-jar" | "--module" => {
                return rest.next().map(|name| base_name(name).to_owned());
            }
            "-c" | "-e" | "-" => return None,
            option if valued.contains(&option) => _ = rest.next(),
            option if option.starts_with('-') => {}
            pipe if pipe.starts_with("/dev/") => return None,
            file => return Some(base_name(file).to_owned()).filter(|name| !name.is_empty()),
        }
    }
    None
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let stat = "812 (a) (b c) S 7 812 812 0 -1 4194560 1 2";
        assert_eq!(comm_and_parent(stat), Some(("a) (b c".to_owned(), Pid(7))));
        assert_eq!(comm_and_parent("812 ) ("), None);
        assert_eq!(comm_and_parent(""), None);
    }

    #[test]
    fn links_name_their_number() {
        assert_eq!(bracketed("net:[4026531840]", "net:"), Some(4_026_531_840));
        assert_eq!(bracketed("socket:[12]", "socket:"), Some(12));
        assert_eq!(bracketed("pipe:[12]", "socket:"), None);
    }

    #[test]
    fn an_interpreters_script_is_named() {
        let of = |line: &str| script(&arguments(line));
        assert_eq!(
            of("/usr/bin/python3.11\0-u\0/usr/bin/gunicorn\0app:app\0"),
            Some("gunicorn".into())
        );
        assert_eq!(of("python3\0-m\0http.server\0"), Some("http.server".into()));
        assert_eq!(of("python3\0-X\0dev\0/srv/app.py\0"), Some("app.py".into()));
        assert_eq!(of("python3\0-c\0import x\0"), None);
        assert_eq!(of("bash\0/dev/fd/3\0"), None);
        assert_eq!(of("gunicorn: worker [app]\0"), Some("gunicorn".into()));
        assert_eq!(
            of("node\0--inspect\0/srv/server.js\0"),
            Some("server.js".into())
        );
        assert_eq!(
            of("java\0-cp\0a.jar:b.jar\0-jar\0/opt/shop.jar\0"),
            Some("shop.jar".into())
        );
        assert_eq!(of("/usr/sbin/nginx\0-g\0daemon off;\0"), None);
        assert_eq!(of("nginx: worker process\0"), Some("nginx".into()));
        assert_eq!(of(""), None);
    }

    #[test]
    fn arguments_are_shown_only_when_asked_for() {
        let of = |line: &str, shown| command(&arguments(line), shown);
        let line = "/usr/bin/python3\0app.py\0--password=hunter2\0";
        assert_eq!(
            of(line, Arguments::Redacted),
            Some("/usr/bin/python3 […]".into())
        );
        assert_eq!(
            of(line, Arguments::Shown),
            Some("/usr/bin/python3 app.py --password=hunter2".into())
        );
        let title = "postgres: shop hunter2 10.0.0.1(4) idle\0\0\0";
        assert_eq!(of(title, Arguments::Redacted), Some("postgres: […]".into()));
        assert_eq!(
            of("/usr/sbin/nginx\0", Arguments::Redacted),
            Some("/usr/sbin/nginx".into())
        );
        assert_eq!(of("", Arguments::Redacted), None);
        let long = of(&format!("a\0{}", "é".repeat(1000)), Arguments::Shown);
        assert_eq!(long.map(|line| line.chars().count()), Some(COMMAND + 1));
    }

    #[test]
    fn who_is_being_killed_is_told_by_its_status() {
        let status = |own: &str, shared: &str| {
            kill_waits(&format!(
                "Name:\tx\nSigQ:\t1/9\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t0100"
            ))
        };
        assert!(status("0000000000000100", "0000000000000000"));
        assert!(status("0000000000000000", "0000000000004100"));
        assert!(!status("0000000000000000", "0000000000004000"));
        assert!(!kill_waits(""));
    }

    #[test]
    fn this_process_is_itself() {
        let pid = Pid(std::process::id());
        let own = identify(pid, Arguments::Redacted).expect("/proc shows this process");
        assert_eq!(own.pid, pid);
        assert!(own.exe.is_some() && netns(pid).is_some() && pids().contains(&pid));
        assert_eq!(task(pid).expect("alive").parent, own.parent);
    }
}
