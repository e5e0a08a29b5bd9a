//! How verdicts are told: one file for each form.

mod json;
pub mod notice;
pub mod page;
pub mod paint;
mod text;
mod wide;

#[cfg(test)]
pub mod example;

use std::io::{self, Write};

use probe502_core::notice::Notice;
use probe502_core::verdict::Verdict;

use paint::Paint;

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A block for each answer, with its evidence and remedy.
    Text,
    /// A line for each answer.
    Wide,
    /// A JSON object for each answer, one a line.
    Json,
}

/// Tells verdicts in one form.
pub struct Output<W> {
    out: W,
    form: Form,
    paint: Paint,
    told: Vec<u8>,
}

impl Output<io::Stdout> {
    /// To stdout, in colour where it is a terminal that may have it.
    pub fn stdout(form: Form) -> Self {
        Self {
            out: io::stdout(),
            form,
            paint: Paint::stdout(),
            told: Vec::new(),
        }
    }
}

impl<W: Write> Output<W> {
    /// Tells one verdict; it is out at the next [`Self::flush`].
    pub fn tell(&mut self, verdict: &Verdict) -> io::Result<()> {
        let told = match self.form {
            Form::Text => text::block(verdict, self.paint),
            Form::Wide => wide::line(verdict, self.paint),
            Form::Json => json::line(verdict)?,
        };
        self.told.extend_from_slice(told.as_bytes());
        Ok(())
    }

    /// Tells something besides a verdict, where its form is asked for.
    pub fn tell_notice(&mut self, notice: &Notice) -> io::Result<()> {
        let told = match self.form {
            Form::Text | Form::Wide => notice::text(notice, self.paint),
            Form::Json => notice::json(notice)?,
        };
        self.told.extend_from_slice(told.as_bytes());
        Ok(())
    }

    /// Writes what was told, all of a turn at once: thousands a second would cost as many calls.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.told.is_empty() {
            self.out.write_all(&self.told)?;
            self.told.clear();
            self.out.flush()?;
        }
        Ok(())
    }
}
