//! The first bytes of a request that come with the handshake's last packet (`TCP_DEFER_ACCEPT`, and
//! clients that are quick): that packet belongs to the listener still, the child is made from it.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use probe502_common::{HEAD, Tuple};

use crate::connection::{self, Connection, OTHER_END};

/// What the last such packet on this processor held.
#[repr(C)]
pub struct Deferred {
    pub head: [u8; HEAD],
    /// The last four bytes of the client's address.
    pub client: [u8; 4],
    /// The client's port, then the listener's.
    pub ports: [u8; 4],
    pub at: u64,
    pub length: u16,
    pub padding: [u8; 6],
}

#[map]
static DEFERRED: PerCpuArray<Deferred> = PerCpuArray::with_max_entries(1, 0);

/// The child is made in the same softirq, microseconds later. Nanoseconds.
const AT_ONCE: u64 = 1_000_000;

/// Where to put such a packet's bytes.
#[inline(always)]
pub fn place() -> Option<&'static mut Deferred> {
    let place = DEFERRED.get_ptr_mut(0)?;
    // SAFETY: this processor's own element, and softirqs do not interrupt each other.
    Some(unsafe { &mut *place })
}

/// A listener's child is made: what its packet held is what it heard.
#[inline(always)]
pub fn adopt(connection: &mut Connection) -> Option<()> {
    let kept = place()?;
    if kept.length == 0 || !is_from(kept, &connection.tuple) {
        return None;
    }
    let now = connection::now();
    if now.saturating_sub(kept.at) > AT_ONCE {
        return None;
    }
    connection.heard_head = kept.head;
    connection.heard_head_length = kept.length;
    connection.heard = 1;
    connection.heard_at = now;
    connection.speaker = OTHER_END;
    kept.length = 0;
    None
}

#[inline(always)]
fn is_from(kept: &Deferred, tuple: &Tuple) -> bool {
    kept.client[0] == tuple.remote[12]
        && kept.client[1] == tuple.remote[13]
        && kept.client[2] == tuple.remote[14]
        && kept.client[3] == tuple.remote[15]
        && kept.ports[0] == tuple.remote_port[0]
        && kept.ports[1] == tuple.remote_port[1]
        && kept.ports[2] == tuple.local_port[0]
        && kept.ports[3] == tuple.local_port[1]
}
