//! Colour where it is wanted, and text from elsewhere made harmless to a terminal.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use probe502_core::verdict::Confidence;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// A terminal that may have colour.
    Colour,
    /// A pipe, or `NO_COLOR`.
    Plain,
}

impl Paint {
    /// For stdout, by <https://no-color.org>.
    pub fn stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !unwanted && !dumb {
            Self::Colour
        } else {
            Self::Plain
        }
    }

    /// For headings and what matters most.
    pub fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// For what may be passed over.
    pub fn faint(self, text: &str) -> String {
        self.sgr("2", text)
    }

    /// For what went wrong.
    pub fn red(self, text: &str) -> String {
        self.sgr("1;31", text)
    }

    /// For what is right.
    pub fn green(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// Sure is green, joined is yellow, unknown is magenta.
    pub fn confidence(self, confidence: Confidence, text: &str) -> String {
        match confidence {
            Confidence::Proven => self.sgr("32", text),
            Confidence::Inferred => self.sgr("33", text),
            Confidence::Unknown => self.sgr("35", text),
        }
    }

    fn sgr(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Text that came over the network or from another process, with what could steer a terminal or
/// reorder its line (Unicode TR 36) escaped.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || steers(letter) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    out
}

/// Bidirectional controls, line and paragraph separators, zero-width letters, tags.
fn steers(letter: char) -> bool {
    matches!(letter,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{061c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(harmless("/a\x1b[2Jb\r\n"), "/a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(
            harmless("/\u{9b}31m\u{202e}x\u{7f}"),
            "/\\u{9b}31m\\u{202e}x\\u{7f}"
        );
        assert_eq!(harmless("/grüße/注文"), "/grüße/注文");
    }

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::Plain.red("x"), "x");
        assert_eq!(Paint::Colour.bold("x"), "\x1b[1mx\x1b[0m");
    }
}
