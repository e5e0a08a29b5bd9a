//! A failed answer.

use crate::event::{Flow, Task};
use crate::habits::Manner;
use crate::http::request_line;
use crate::own_page::{Want, Word};
use crate::shapes::Shape;
use crate::units::Timestamp;
use crate::unix::Target;
use crate::verdict::{Cut, Kind};

/// A failed answer, with what joining needs of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it left.
    pub at: Timestamp,
    /// Who sent it.
    pub task: Task,
    /// The connection that it left on.
    pub flow: Box<Flow>,
    /// What the client got.
    pub kind: Kind,
    /// Its status; 0 where there was none.
    pub status: u16,
    /// It broke off within its body.
    pub cut: Option<Cut>,
    /// What was asked, to be compared.
    pub asked: Option<u64>,
    /// Its request, as it was heard.
    pub request: Request,
    /// How it looks.
    pub shape: Shape,
    /// The same thread's answer before this one.
    pub before: Option<Timestamp>,
    /// The same thread gave another since.
    pub is_followed: bool,
    /// What failed behind other doors of its process, and never behind this one.
    pub elsewhere: Vec<Target>,
    /// How its process goes about it.
    pub manner: Manner,
    /// The kernel told what the thread had let go of just before it answered.
    pub ordered: bool,
    /// Whether it is the page that its gateway has for want of a server.
    pub wants_server: Want,
    /// What its page says of a dial.
    pub word: Option<Word>,
}

/// What the client's end tells of a request. Read once: it is compared with each attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// When it came.
    pub arrived: Option<Timestamp>,
    /// Its line was seen.
    pub is_seen: bool,
}

impl Request {
    /// That of an answer. A body that came after `100 Continue` tells nothing of when its request came.
    #[must_use]
    pub fn of(flow: &Flow, answered: Timestamp) -> Self {
        let is_seen = request_line(&flow.heard_head).is_some();
        let tells = is_seen || flow.heard_head.0.is_empty();
        let arrived = flow.heard_at.filter(|at| tells && *at <= answered);
        Self { arrived, is_seen }
    }
}
