//! What TLS hides of an attempt, and what its records show all the same.

use crate::attempts::Attempt;
use crate::ends::was_left;
use crate::tls;

impl Attempt {
    /// Whether it became a connection, and nothing was asked on it because TLS did not come about.
    #[must_use]
    pub fn failed_in_handshake(&self) -> bool {
        self.flow.established && tls::is_handshake_failure(&self.flow, self.at)
    }

    /// Whether the upstream ended it when no more than session tickets may have come: or a short answer
    /// had, after which nothing went wrong.
    #[must_use]
    pub fn may_be_unanswered(&self) -> bool {
        let flow = &self.flow;
        let is_little = tls::heard_ticket(flow) || tls::heard_tickets(flow);
        self.relayed.is_none() && flow.asked && tls::is_spoken(flow) && was_left(flow) && is_little
    }
}
