//! What a connection's end says by itself: which end it was, and whether a client was left empty.

use crate::event::{Flow, How, Role};
use crate::http;

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

/// Whether it was let go by a living holder, its client still there and its request unanswered.
#[must_use]
pub fn is_silent(flow: &Flow) -> bool {
    let chosen = matches!(flow.how, How::Fin | How::Unread | How::Linger);
    let left = flow.fin_heard || flow.reset_heard || flow.error.0 != 0;
    let asked = flow.heard_bytes > 0 && http::request_line(&flow.heard_head).is_some();
    chosen && asked && !left && !flow.dying
}
