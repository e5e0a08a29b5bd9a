//! `replay`: a recording's verdicts again, without root and without a kernel.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use probe502_core::correlator::{Correlator, Settings};

use super::teller::Teller;
use crate::cli::{Besides, Choice};
use crate::filter::Filter;
use crate::output::Form;
use crate::recording::Recording;

/// Judge a recording again: the same verdicts anywhere, without root
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The recording to read; `-` is stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub besides: Besides,
    /// Tell failures without a status too
    #[arg(long)]
    pub silent: bool,
    /// Only these status codes
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub status: Vec<u16>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
}

/// Tells every verdict up to the recording's end, or to where it is cut.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let named = || format!("{}", arguments.file.display());
    let recording = Recording::open(input(arguments)?).with_context(named)?;
    let filter = Filter {
        statuses: arguments.status.clone(),
        silent: arguments.silent,
        ..arguments.choice.filter()
    };
    let mut teller = Teller::new(filter, arguments.besides, arguments.output);
    let mut correlator = Correlator::new(Settings::default());
    for event in recording {
        correlator.handle_event(event.with_context(named)?);
        tell(&mut correlator, &mut teller)?;
    }
    correlator.handle_end();
    tell(&mut correlator, &mut teller)?;
    eprintln!("{}", teller.summary("no record lost"));
    Ok(())
}

fn input(arguments: &Arguments) -> anyhow::Result<Box<dyn Read>> {
    if arguments.file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = File::open(&arguments.file);
    let file = file.with_context(|| format!("cannot open {}", arguments.file.display()))?;
    Ok(Box::new(file))
}

fn tell(correlator: &mut Correlator, teller: &mut Teller) -> anyhow::Result<()> {
    // What was seen of them is in the recording; too many that wait would keep later ones from being made.
    while correlator.poll_wish().is_some() {}
    while let Some(verdict) = correlator.poll_verdict() {
        teller.tell(&verdict)?;
    }
    while let Some(notice) = correlator.poll_notice() {
        teller.notice(&notice)?;
    }
    teller.flush()
}
