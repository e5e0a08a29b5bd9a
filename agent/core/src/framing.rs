//! How an answer's body is delimited and ends, as far as the kernel programs looked (`--silent`).

use probe502_common::{Flow, framing};
use serde::{Deserialize, Serialize};

/// What a record says of it, of the answer that a server said or its client heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framing {
    /// Bytes of the header, where its end was found behind what is kept of it; else 0.
    #[serde(default)]
    pub header_bytes: u32,
    /// That header's `Content-Length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<u64>,
    /// That header's `Transfer-Encoding: chunked`.
    #[serde(default)]
    pub chunked: bool,
    /// Its last bytes are an empty line: a body in chunks may end so.
    #[serde(default)]
    pub ends_empty: bool,
    /// Its last bytes are known, and no empty line.
    #[serde(default)]
    pub ends_within: bool,
}

impl Framing {
    /// That of a record.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        let set = |bit| flow.talk.framing & bit != 0;
        Self {
            header_bytes: flow.talk.header_bytes,
            announced: set(framing::LENGTH).then_some(flow.talk.announced),
            chunked: set(framing::CHUNKED),
            ends_empty: set(framing::ENDS_EMPTY),
            ends_within: set(framing::ENDS_WITHIN),
        }
    }
}
