//! The faults, by who must act.

mod app;
mod keepalive;
mod listener;
mod net;
mod process;
mod protocol;
mod proxy;
mod relayed;
mod tls;
mod unix;

use anyhow::Result;

use super::Fault;
use super::cast::Cast;
use super::luck::Luck;
use crate::upstream::Upstream;

/// A connection that ended before an answer: which of the two it is hangs on what had been read.
pub(super) const ENDED: &[&str] = &["eof", "reset"];
/// The upstream's host said no.
pub(super) const REFUSED: &[&str] = &["refused"];
/// Connected, asked, and nothing came.
pub(super) const SILENCE: &[&str] = &["no-answer"];
/// No SYN was answered.
pub(super) const UNREACHED: &[&str] = &["connect-timeout"];

/// Set where the host is a guest that may be broken.
const GUEST: &str = "PROBE502_GUEST";

/// All of them that this host may meet.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    let topics = [
        process::FAULTS,
        listener::FAULTS,
        app::FAULTS,
        keepalive::FAULTS,
        net::FAULTS,
        proxy::FAULTS,
        protocol::FAULTS,
        tls::FAULTS,
        unix::FAULTS,
        relayed::FAULTS,
    ];
    let is_guest = std::env::var_os(GUEST).is_some();
    let of_guests = is_guest.then_some([process::IN_A_GUEST, app::IN_A_GUEST]);
    topics
        .into_iter()
        .chain(of_guests.into_iter().flatten())
        .flatten()
}

/// `faulty.py` at a port of chance, with these options.
fn faulty(luck: &mut Luck, options: &[&str]) -> Result<Upstream> {
    let port = luck.port().to_string();
    Upstream::faulty_at(None, &[&["--port", &port], options].concat())
}

/// A fault of `faulty.py` that needs only a GET, on a fresh connection or a pooled one.
fn asked(luck: &mut Luck, name: &'static str) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let warm = luck.between(0, 3);
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        for _ in 0..warm {
            door.good()?;
        }
        door.fault(name)
    })
}
