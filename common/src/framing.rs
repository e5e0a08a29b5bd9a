//! Bits of `Flow::framing`: how an answer's body is delimited and ends. Looked at under `--silent` only.

/// The header says `Content-Length`.
pub const LENGTH: u32 = 1;
/// The header says `Transfer-Encoding: chunked`.
pub const CHUNKED: u32 = 2;
/// Its last bytes are an empty line, as at the end of a body in chunks (RFC 9112, 7.1).
pub const ENDS_EMPTY: u32 = 4;
/// Its last bytes are none.
pub const ENDS_WITHIN: u32 = 8;
