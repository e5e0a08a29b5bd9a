//! `history`: what the daemon stored.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::cli::Causes;
use crate::clock;
use crate::exit::Ending;
use crate::history::{PLACE, Reader, Search};
use crate::output::{Form, Output};

/// Show the failed answers that the agent stored; it may go on writing meanwhile
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The agent's history
    #[arg(long, value_name = "FILE", default_value = PLACE, env = "PROBE502_HISTORY")]
    pub history: PathBuf,
    /// Only of this last while: 90s, 15m, 1h, 7d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub since: Option<Duration>,
    /// Only this cause, or every cause below it
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = crate::cli::causes)]
    pub cause: Vec<Causes>,
    /// Only upstreams whose address, unit, `namespace/workload` or `namespace/pod` contains this
    #[arg(long, value_name = "ADDRESS")]
    pub upstream: Option<String>,
    /// Only these status codes
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub status: Vec<u16>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max: u32,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Wide)]
    pub output: Form,
}

/// Prints what was asked for, oldest first.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let reader =
        Reader::open(&arguments.history).map_err(|error| Ending::NotFound(format!("{error:#}")))?;
    let search = Search {
        since: arguments.since.map(clock::ago),
        causes: arguments
            .cause
            .iter()
            .flat_map(|Causes(causes)| causes)
            .map(|cause| cause.id())
            .collect(),
        upstream: arguments.upstream.clone(),
        status: arguments.status.clone(),
        limit: arguments.max,
    };
    let found = reader.search(&search)?;
    let mut output = Output::stdout(arguments.output);
    for stored in &found {
        output.tell(&stored.verdict()?)?;
    }
    output.flush().context("cannot write to stdout")?;
    if found.is_empty() {
        eprintln!(
            "no failed answer that matches is in {}",
            arguments.history.display()
        );
    }
    Ok(())
}

/// A number and its unit.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no span: a number and s, m, h or d, as 15m");
    let (unit, seconds) = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(*unit))
        .ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "1", "h", "-1h", "1.5h", "99999999999999999d"] {
            assert!(span(wrong).expect_err("refused").contains("15m"), "{wrong}");
        }
    }
}
