//! A verdict as a block for people: what failed, why, the dated facts, and what to do.

use std::fmt::Write as _;

use probe502_core::verdict::{Confidence, Kind, Request, Upstream, Verdict, Who};

use super::paint::{Paint, harmless};

/// The block, with an empty line after it.
pub fn block(verdict: &Verdict, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, verdict, paint);
    out
}

fn write(out: &mut String, verdict: &Verdict, paint: Paint) -> std::fmt::Result {
    writeln!(
        out,
        "{}  {}  {}   client {} → {}[{}] {}",
        time(verdict),
        paint.red(&got(verdict)),
        paint.bold(&request(&verdict.request)),
        harmless(&verdict.client),
        harmless(&verdict.gateway.who.comm),
        verdict.gateway.who.pid.0,
        port(&verdict.gateway.listen),
    )?;
    if let Some(upstream) = &verdict.upstream {
        writeln!(out, "  upstream {}", upstream_line(upstream))?;
        let command = upstream.who.as_ref().and_then(|who| who.command.as_ref());
        if let Some(command) = command.filter(|line| has_arguments(line)) {
            writeln!(out, "  command  {}", harmless(command))?;
        }
    }
    let id = paint.bold(verdict.cause.id());
    let sure = paint.confidence(verdict.confidence, confidence(verdict.confidence));
    writeln!(out, "  cause    {id} — {sure}")?;
    writeln!(out, "           {}", harmless(&verdict.sentence))?;
    if verdict.attempts.len() > 1 {
        for (number, attempt) in verdict.attempts.iter().enumerate() {
            let reused = if attempt.reused {
                ", on a kept connection"
            } else {
                ""
            };
            let (number, addr) = (number + 1, harmless(&attempt.addr));
            writeln!(
                out,
                "  try {number}    {addr} {}{reused}",
                symptom(verdict, number)
            )?;
        }
    }
    for fact in &verdict.evidence {
        writeln!(
            out,
            "  {}  {}",
            paint.faint(&moment(fact.at_ms)),
            harmless(&fact.fact)
        )?;
    }
    if verdict.lost > 0 {
        writeln!(
            out,
            "  lost     {} records around this answer: what is absent proves nothing",
            verdict.lost
        )?;
    }
    writeln!(out, "  fix      {}\n", harmless(&verdict.remedy))
}

/// `14:03:07.412`, UTC.
pub fn time(verdict: &Verdict) -> &str {
    clock(&verdict.time)
}

/// A date's time of day, to the millisecond.
pub fn clock(date: &str) -> &str {
    let clock = date.split_once('T').map_or(date, |(_, clock)| clock);
    clock.get(..12).unwrap_or(clock)
}

/// The status, or what came instead of one.
pub fn got(verdict: &Verdict) -> String {
    match verdict.kind {
        Kind::Answer => verdict.status.to_string(),
        Kind::Silent if verdict.cut.is_some() => format!("{} cut", verdict.status),
        Kind::Silent => "closed".to_owned(),
    }
}

/// `POST /orders`, as far as it was seen.
pub fn request(request: &Request) -> String {
    let part = |part: &Option<String>| part.as_deref().map_or_else(|| "?".to_owned(), harmless);
    format!("{} {}", part(&request.method), part(&request.path))
}

/// The word for it.
pub fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Proven => "proven",
        Confidence::Inferred => "inferred",
        Confidence::Unknown => "unknown",
    }
}

/// `10.96.0.10:80 → 10.1.2.3:8000  gunicorn[4127]`, the second address where it was translated.
fn upstream_line(upstream: &Upstream) -> String {
    let real = upstream.real.as_ref().map(|real| format!(" → {real}"));
    let who = upstream
        .who
        .as_ref()
        .map(|who| format!("  {}", who_line(who)));
    let addr = harmless(&format!("{}{}", upstream.addr, real.unwrap_or_default()));
    format!("{addr}{}", who.unwrap_or_default())
}

/// `gunicorn[4127] (container 3fa9c1d2e4b5)`, `gunicorn[4127] (container app, pod shop/orders-x2x4z)`.
fn who_line(who: &Who) -> String {
    let name = match &who.script {
        Some(script) if *script != who.comm => format!("{} {}", who.comm, script),
        _ => who.comm.clone(),
    };
    let short = |kind: &str, id: &Option<String>| {
        id.as_ref()
            .map(|id| format!("{kind} {}", id.get(..12).unwrap_or(id)))
    };
    let named = who.kubernetes.as_ref();
    let container = match named.and_then(|named| named.container.as_ref()) {
        Some(name) => Some(format!("container {name}")),
        None => short("container", &who.container),
    };
    let pod = match named {
        Some(named) => Some(format!("pod {}/{}", named.namespace, named.pod)),
        None => short("pod", &who.pod),
    };
    let places = [container, pod, who.unit.clone()];
    let places: Vec<String> = places.into_iter().flatten().collect();
    let places = if places.is_empty() {
        String::new()
    } else {
        format!(" ({})", places.join(", "))
    };
    harmless(&format!("{name}[{}]{places}", who.pid.0))
}

/// Whether a command line says more than the program does.
fn has_arguments(command: &str) -> bool {
    command.contains(' ') && !command.ends_with("[…]")
}

/// The attempt's symptom by its public name.
fn symptom(verdict: &Verdict, number: usize) -> String {
    let symptom = verdict
        .attempts
        .get(number - 1)
        .map(|attempt| attempt.symptom);
    let word = symptom.and_then(|symptom| serde_json::to_value(symptom).ok());
    word.and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// `:80` of `10.0.3.1:80`; the address itself where it has no port.
fn port(listen: &str) -> String {
    let port = listen.rsplit_once(':').map(|(_, port)| format!(":{port}"));
    harmless(&port.unwrap_or_else(|| listen.to_owned()))
}

/// Relative to the answer, in the unit and as exact as fits: `-0.03 ms`, `-2.3 ms`, `-4.81 s`.
pub fn moment(at_ms: f64) -> String {
    if at_ms.abs() < 1.0 {
        format!("{at_ms:>+7.2} ms")
    } else if at_ms.abs() < 1000.0 {
        format!("{at_ms:>+7.1} ms")
    } else {
        format!("{:>+7.2} s ", at_ms / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use probe502_core::verdict::Cluster;

    use super::*;
    use crate::output::example;

    #[test]
    fn a_block_reads_as_the_readme_shows_it() {
        let expected = "\
14:03:07.412  502  POST /orders   client 10.0.3.9:51422 → nginx[812] :80
  upstream 10.4.1.7:8000  python3 gunicorn[4127] (container 3fa9c1d2e4b5)
  cause    process.oom.cgroup — proven
           reset: the worker was OOM-killed at its cgroup limit (256 MiB) 1.9 ms before it could answer
     -2.3 ms  SIGKILL by the kernel's OOM killer
    -4.81 s   the request arrived
  fix      raise memory.max above 256 MiB

";
        assert_eq!(block(&example::verdict(), Paint::Plain), expected);
    }

    #[test]
    fn a_translated_address_shows_both() {
        let mut verdict = example::verdict();
        if let Some(upstream) = &mut verdict.upstream {
            upstream.real = Some("10.1.2.3:8000".to_owned());
        }
        let block = block(&verdict, Paint::Plain);
        assert!(block.contains("  upstream 10.4.1.7:8000 → 10.1.2.3:8000  python3"));
    }

    #[test]
    fn a_command_line_is_told_where_it_says_something() {
        let mut verdict = example::verdict();
        for (command, told) in [
            ("/usr/bin/python3 […]", false),
            ("/usr/sbin/nginx", false),
            ("python3 app.py --workers 4", true),
        ] {
            if let Some(who) = verdict.upstream.as_mut().and_then(|one| one.who.as_mut()) {
                who.command = Some(command.to_owned());
            }
            let block = block(&verdict, Paint::Plain);
            assert_eq!(block.contains(&format!("  command  {command}\n")), told);
        }
    }

    #[test]
    fn a_pod_goes_by_its_names() {
        let mut verdict = example::verdict();
        if let Some(who) = verdict.upstream.as_mut().and_then(|one| one.who.as_mut()) {
            who.kubernetes = Some(Cluster {
                namespace: "shop".to_owned(),
                pod: "orders-7f6c9d8b5-x2x4z".to_owned(),
                container: Some("app".to_owned()),
                ..Cluster::default()
            });
        }
        let block = block(&verdict, Paint::Plain);
        let named = "gunicorn[4127] (container app, pod shop/orders-7f6c9d8b5-x2x4z)\n";
        assert!(block.contains(named), "{block}");
    }

    #[test]
    fn nothing_from_the_network_reaches_the_terminal_raw() {
        let mut verdict = example::verdict();
        let evil = "\x1b]0;owned\x07\r\n";
        verdict.request.path = Some(evil.to_owned());
        verdict.gateway.who.comm = evil.to_owned();
        verdict.sentence = evil.to_owned();
        verdict.evidence[0].fact = evil.to_owned();
        let block = block(&verdict, Paint::Plain);
        assert!(!block.contains('\x1b') && !block.contains('\r') && !block.contains('\x07'));
        assert_eq!(block.lines().count(), 8);
    }

    #[test]
    fn a_moment_is_as_exact_as_fits() {
        let told = [-0.034, -2.34, -202.14, -4810.0, 0.2].map(moment);
        assert_eq!(
            told.map(|told| told.trim().to_owned()),
            ["-0.03 ms", "-2.3 ms", "-202.1 ms", "-4.81 s", "+0.20 ms"]
        );
    }

    #[test]
    fn losses_and_retries_are_said() {
        let mut verdict = example::verdict();
        verdict.lost = 3;
        verdict.attempts.push(verdict.attempts[0].clone());
        let block = block(&verdict, Paint::Plain);
        assert!(
            block.contains("  lost     3 records")
                && block.contains("  try 2    10.4.1.7:8000 reset")
        );
    }
}
