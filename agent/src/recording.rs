//! Recordings: every event of a run in the scenarios' grammar, compressed, with a last line that
//! shows that nothing is cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use probe502_core::event::Event;
use probe502_core::story::{StoryError, parse_event, write_event};

/// What the first line begins with; the version follows.
const TITLE: &str = "probe502 recording ";

/// The grammar's version; it changes when an older reader would misread.
const VERSION: &str = "1";

/// What the last line begins with; the number of events follows.
const END: &str = "end ";

/// What RFC 1952, 2.3.1 begins a compressed file with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Longer than any event: two heads of 256 bytes, each byte escaped, and some thirty fields.
const LINE: u64 = 64 * 1024;

/// Writes a recording.
pub struct Recorder {
    out: GzEncoder<BufWriter<File>>,
    events: u64,
    dirty: bool,
}

impl Recorder {
    /// Creates the file. Only its owner may read it: it holds the first bytes of requests.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // A recorder that falls behind loses records; the densest compression is worth less.
        let mut out = GzEncoder::new(BufWriter::new(file), Compression::fast());
        writeln!(out, "{TITLE}{VERSION}")?;
        Ok(Self {
            out,
            events: 0,
            dirty: true,
        })
    }

    /// Adds one event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.events += 1;
        self.dirty = true;
        writeln!(self.out, "{}", write_event(event))
    }

    /// Brings what was written to the file, so that a run that is killed leaves what it saw.
    pub fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Ends the recording; gives the number of its events.
    pub fn finish(mut self) -> io::Result<u64> {
        writeln!(self.out, "{END}{}", self.events)?;
        self.out.finish()?.flush()?;
        Ok(self.events)
    }
}

/// Why a recording is not, or not wholly, readable.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It begins otherwise.
    #[error("this is no recording: its first line is not '{TITLE}{VERSION}'")]
    Title,
    /// Another version of the grammar.
    #[error("this recording is of version {0}; this probe502 reads version {VERSION}")]
    Version(String),
    /// The last line, or the compression's own end, is missing.
    #[error("the recording is cut off: {read} events were read and its end is missing")]
    Cut {
        /// Events that were read.
        read: u64,
    },
    /// The file or its compression is broken.
    #[error("the recording is damaged after {read} events: {source}")]
    Unreadable {
        /// Events that were read.
        read: u64,
        /// How.
        source: io::Error,
    },
    /// A line is no event.
    #[error("the recording is damaged after {read} events: {source}")]
    Line {
        /// Events that were read.
        read: u64,
        /// How.
        source: StoryError,
    },
    /// The last line counts otherwise.
    #[error("the recording says that it holds {said} events, but {read} were read")]
    Count {
        /// Events that were read.
        read: u64,
        /// What the last line says.
        said: String,
    },
}

/// Reads a recording, compressed or as plain text.
pub struct Recording {
    lines: Box<dyn BufRead>,
    read: u64,
    done: bool,
}

impl Recording {
    /// Begins to read; fails where the first line is not a recording's.
    pub fn open(input: impl Read + 'static) -> Result<Self, Flaw> {
        let mut input = BufReader::new(input);
        let start = input
            .fill_buf()
            .map_err(|source| Flaw::Unreadable { read: 0, source })?;
        let lines: Box<dyn BufRead> = if start.starts_with(&GZIP) {
            Box::new(BufReader::new(MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        let mut recording = Self {
            lines,
            read: 0,
            done: false,
        };
        let title = recording.line()?.ok_or(Flaw::Title)?;
        match title.strip_prefix(TITLE) {
            Some(VERSION) => Ok(recording),
            Some(other) => Err(Flaw::Version(other.to_owned())),
            None => Err(Flaw::Title),
        }
    }

    /// The next line without its end; `None` at the end of the file.
    fn line(&mut self) -> Result<Option<String>, Flaw> {
        let mut line = Vec::new();
        let read = self.lines.by_ref().take(LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.ends_with(b"\n") => {
                line.pop();
                Ok(Some(String::from_utf8_lossy(&line).into_owned()))
            }
            // An editor may have dropped the last line's end; the count shows whether it is whole.
            Ok(_) if line.starts_with(END.as_bytes()) => {
                Ok(Some(String::from_utf8_lossy(&line).into_owned()))
            }
            // Any other line without an end is the cut itself: what it says is not whole.
            Ok(_) => Err(Flaw::Cut { read: self.read }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Flaw::Cut { read: self.read })
            }
            Err(source) => Err(Flaw::Unreadable {
                read: self.read,
                source,
            }),
        }
    }

    fn event(&mut self) -> Result<Option<Event>, Flaw> {
        loop {
            let line = self.line()?.ok_or(Flaw::Cut { read: self.read })?;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(said) = line.strip_prefix(END) {
                return self.end(said).map(|()| None);
            }
            let event = parse_event(line).map_err(|source| Flaw::Line {
                read: self.read,
                source,
            })?;
            self.read += 1;
            return Ok(Some(event));
        }
    }
}

impl Recording {
    /// The count must fit, and nothing may follow: only the file's end proves its checksum.
    fn end(&mut self, said: &str) -> Result<(), Flaw> {
        let read = self.read;
        if said != read.to_string() || self.line()?.is_some() {
            return Err(Flaw::Count {
                read,
                said: said.to_owned(),
            });
        }
        Ok(())
    }
}

impl Iterator for Recording {
    type Item = Result<Event, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.event().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use probe502_core::event::{Attached, Fact};
    use probe502_core::units::Timestamp;

    use super::*;

    fn events() -> Vec<Event> {
        let attached = Attached {
            ordered: true,
            wall: 5,
            missing: vec![],
        };
        let fact = |at, fact| Event {
            at: Timestamp(at),
            fact,
        };
        vec![
            fact(1_000_000_000, Fact::Attached(attached)),
            fact(2_000_000_001, Fact::Tick),
        ]
    }

    fn recorded() -> Vec<u8> {
        let path = std::env::temp_dir().join(format!(
            "probe502-recording-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut recorder = Recorder::create(&path).expect("created");
        for event in events() {
            recorder.write(&event).expect("written");
            recorder.flush().expect("flushed");
        }
        assert_eq!(recorder.finish().expect("finished"), 2);
        let bytes = std::fs::read(&path).expect("readable");
        std::fs::remove_file(&path).expect("removed");
        bytes
    }

    fn read(bytes: Vec<u8>) -> (Vec<Event>, Option<Flaw>) {
        let recording = match Recording::open(Cursor::new(bytes)) {
            Ok(recording) => recording,
            Err(flaw) => return (vec![], Some(flaw)),
        };
        let (mut events, mut flaw) = (vec![], None);
        for next in recording {
            match next {
                Ok(event) => events.push(event),
                Err(found) => flaw = Some(found),
            }
        }
        (events, flaw)
    }

    #[test]
    fn what_was_recorded_is_read() {
        let (read, flaw) = read(recorded());
        assert_eq!(read, events());
        assert!(flaw.is_none(), "{flaw:?}");
    }

    #[test]
    fn a_cut_at_any_byte_is_noticed() {
        let whole = recorded();
        for length in 0..whole.len() {
            let (_, flaw) = read(whole[..length].to_vec());
            assert!(flaw.is_some(), "cut at {length} of {}", whole.len());
        }
    }

    #[test]
    fn plain_text_is_read_with_its_comments() {
        let text = "probe502 recording 1\n# a note\n\n2.000000001 tick\nend 1\n";
        let (read, flaw) = read(text.into());
        assert_eq!(read.len(), 1);
        assert!(flaw.is_none(), "{flaw:?}");
    }

    #[test]
    fn each_flaw_is_named_with_what_was_read() {
        let flaw = |text: &str| {
            read(text.into())
                .1
                .map(|flaw| flaw.to_string())
                .unwrap_or_default()
        };
        let start = "probe502 recording 1\n2.000000001 tick\n";
        assert!(flaw("").contains("no recording"));
        assert!(flaw("GET / HTTP/1.1\n").contains("no recording"));
        assert!(flaw("probe502 recording 9\n").contains("version 9"));
        assert!(flaw(start).contains("cut off: 1 events were read"));
        assert!(flaw(&format!("{start}3.0 answ")).contains("cut off: 1 events"));
        assert!(flaw(&format!("{start}nonsense\nend 2\n")).contains("damaged after 1 events"));
        assert!(flaw(&format!("{start}end 7\n")).contains("says that it holds 7 events, but 1"));
        assert!(flaw(&format!("{start}{}", "x".repeat(100_000))).contains("cut off: 1 events"));
    }
}
