//! What a connection's end says by itself: which end it was, and whether a client was left empty.

use crate::body;
use crate::event::{Flow, How, Role};
use crate::http;
use crate::verdict::Cut;

/// Which end it is; a connection older than the agent shows it by who asked.
#[must_use]
pub fn role(flow: &Flow) -> Role {
    if flow.role != Role::Unknown {
        return flow.role;
    }
    let asked = http::request_line(&flow.said_head).is_some();
    let served = http::request_line(&flow.heard_head).is_some();
    match (asked, served) {
        (true, false) => Role::Dialled,
        (false, true) => Role::Accepted,
        (_, _) => Role::Unknown,
    }
}

/// Whether it was let go by a living holder, its client still there and its request unanswered, or not
/// answered to the end.
#[must_use]
pub fn is_silent(flow: &Flow) -> bool {
    let chosen = matches!(flow.how, How::Fin | How::Unread | How::Linger);
    let asked = flow.heard_bytes > 0 && http::request_line(&flow.heard_head).is_some();
    chosen && (asked || cut(flow).is_some()) && !was_left(flow) && !flow.dying
}

/// Whether the other end had left, as far as this one saw.
#[must_use]
pub fn was_left(flow: &Flow) -> bool {
    flow.fin_heard || flow.reset_heard || flow.error.0 != 0
}

/// Whether nothing was read of what had come since it last spoke.
#[must_use]
pub fn is_unread(flow: &Flow) -> bool {
    u64::from(flow.unread) >= flow.heard_bytes
}

/// What its client has of an answer that broke off within its body: the status and how far it came. One
/// that says itself that something failed is told of, or not, by its status.
#[must_use]
pub fn cut(flow: &Flow) -> Option<(u16, Cut)> {
    let status = http::status(&flow.said_head).filter(|status| *status < 500)?;
    let cut = body::said(flow)?;
    (flow.heard_bytes == 0).then_some((status, cut))
}
