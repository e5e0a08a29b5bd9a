//! Newtypes for units and ids, so that no raw number travels past the door.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This moment plus a span, saturating.
    #[must_use]
    pub fn plus(self, span: std::time::Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment minus a span, saturating.
    #[must_use]
    pub fn minus(self, span: std::time::Duration) -> Self {
        let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanoseconds))
    }

    /// The span since an earlier moment; zero where it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds from a reference moment to this one; negative where this is earlier.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "a span that is shown, not computed with"
    )]
    pub fn millis_from(self, reference: Self) -> f64 {
        if self >= reference {
            (self.0 - reference.0) as f64 / 1e6
        } else {
            -((reference.0 - self.0) as f64 / 1e6)
        }
    }
}

/// A process (the kernel's tgid).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Pid(pub u32);

/// A socket's cookie (`SO_COOKIE`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cookie(pub u64);

/// A network namespace's inode number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Netns(pub u32);

/// An errno; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Errno(pub u16);

/// The first bytes of a message; in text as ASCII with `\xNN`, `\r`, `\n` and `\\` escapes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Head(pub Vec<u8>);

impl Head {
    /// As text, whatever is none replaced. Nearly all is, which is quickly seen.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match str::from_utf8(&self.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(&self.0),
        }
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0.escape_ascii())
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Head({self})")
    }
}

impl Serialize for Head {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        unescape(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The reverse of `escape_ascii`.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digits = [rest.next().unwrap_or(0), rest.next().unwrap_or(0)];
                let digits = str::from_utf8(&digits).map_err(|error| error.to_string())?;
                u8::from_str_radix(digits, 16).map_err(|error| format!("\\x{digits}: {error}"))?
            }
            Some(other @ (b'\\' | b'"' | b'\'')) => other,
            other => return Err(format!("unknown escape \\{other:?}")),
        });
    }
    Ok(bytes)
}
