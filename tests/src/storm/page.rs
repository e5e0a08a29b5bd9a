//! Storms as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Weather;
use super::judge::Sum;
use crate::gateways::Kind;

const HEAD: &str = "# Storms

Thousands of requests in flight behind one gateway, good ones and sixteen faults mixed at random, each
counted by its client: every failed answer must have exactly one verdict, and the right one. The
faults: closed without an answer, in the status line, in the header and with a reset, two ways of not
reading a request, a reset on purpose, a malformed header, one too big, an upstream's own 502 and 503,
a crash, an exit, a kill by the parent and one by a user, and a dial that is refused.

*Right* is the fault's own cause, proven or inferred. *Unknown* claims nothing. *Missed* failed answers
have no verdict, *spurious* verdicts no failed answer. The times are from the client's answer to the
verdict, for half of them and for 99 %; a process's exit is awaited for up to 1.7 s.

Written by `cargo xtask accuracy --storm --write docs/storms.md`; `--seed`, `--requests`, `--at-once`
and `--gateway` play others.
";

/// The storms of one run, in the order they were played.
#[must_use]
pub fn page(played: &[(Weather, Sum)], versions: &BTreeMap<Kind, String>) -> String {
    let mut page = HEAD.to_owned();
    let host = rustix::system::uname();
    let _ = writeln!(
        page,
        "\nKernel {}; {}.",
        host.release().to_string_lossy(),
        versions.values().cloned().collect::<Vec<_>>().join(", ")
    );
    page += &table(
        "Each request with a line of its own",
        played.iter().filter(|(weather, _)| !weather.identical),
    );
    page += &table(
        "All with the same request line",
        played.iter().filter(|(weather, _)| weather.identical),
    );
    page
}

fn table<'a>(title: &str, played: impl Iterator<Item = &'a (Weather, Sum)>) -> String {
    let played: Vec<_> = played.collect();
    if played.is_empty() {
        return String::new();
    }
    let mut page = format!(
        "\n## {title}\n\n| gateway | seed | requests | at once | failed | proven | inferred | unknown | wrong | missed | spurious | verdict after |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (weather, sum) in &played {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ms, {} ms |",
            sum.kind.name(),
            weather.seed,
            sum.requests,
            weather.at_once,
            sum.failed,
            sum.right - sum.inferred,
            sum.inferred,
            sum.unknown,
            sum.wrong,
            sum.missed,
            sum.spurious,
            sum.latency.0.as_millis(),
            sum.latency.1.as_millis(),
        );
    }
    let all = |count: fn(&Sum) -> usize| played.iter().map(|(_, sum)| count(sum)).sum::<usize>();
    let _ = writeln!(
        page,
        "\n{} failed answers: {} right, {} unknown, {} wrong, {} missed, {} spurious.",
        all(|sum| sum.failed),
        all(|sum| sum.right),
        all(|sum| sum.unknown),
        all(|sum| sum.wrong),
        all(|sum| sum.missed),
        all(|sum| sum.spurious),
    );
    page
}
