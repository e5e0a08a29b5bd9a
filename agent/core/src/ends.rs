//! What a connection's end says by itself: which end it was, and whether a client was left empty.

use crate::body;
use crate::event::{Flow, How, Role};
use crate::http;
use crate::verdict::Cut;

/// Which end it is; a connection older than the agent shows it by who asked.
#[must_use]
pub fn role(flow: &Flow) -> Role {
    let asked = http::request_line(&flow.said_head).is_some();
    let served = http::request_line(&flow.heard_head).is_some();
    match (flow.role, asked, served) {
        (Role::Unknown, true, false) => Role::Dialled,
        (Role::Unknown, false, true) => Role::Accepted,
        (role, _, _) => role,
    }
}

/// Whether it was let go by a living holder, its client still there and its request unanswered, or not
/// answered to the end.
#[must_use]
pub fn is_silent(flow: &Flow) -> bool {
    let chosen = matches!(flow.how, How::Fin | How::Unread | How::Linger);
    let left = flow.fin_heard || flow.reset_heard || flow.error.0 != 0;
    let asked = flow.heard_bytes > 0 && http::request_line(&flow.heard_head).is_some();
    chosen && (asked || is_cut(flow)) && !left && !flow.dying
}

/// Whether its answer broke off within its body. One that says itself that something failed is told of,
/// or not, by its status.
fn is_cut(flow: &Flow) -> bool {
    let is_good = body::status(&flow.said_head).is_some_and(|status| status < 500);
    flow.heard_bytes == 0 && is_good && body::said(flow).is_some()
}

/// What its client has of an answer that broke off: the status and how far the body came.
#[must_use]
pub fn cut(flow: &Flow) -> (u16, Option<Cut>) {
    if is_cut(flow) {
        let status = body::status(&flow.said_head).unwrap_or_default();
        (status, body::said(flow))
    } else {
        (0, None)
    }
}
