//! The upstream's own answer is the error.

use anyhow::Result;

use super::process::served;
use super::{asked, faulty};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::gateways::{Gateway, Kind};
use crate::upstream::Upstream;

const RELAYED: Truth = truth(&["relayed.upstream"], &["relayed"]);

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("upstream-says-502", RELAYED, |luck, _| {
        asked(luck, "says-502")
    }),
    Fault::new("upstream-says-503", RELAYED, |luck, _| {
        asked(luck, "says-503")
    }),
    Fault::new("gunicorn-says-500-at-its-timeout", RELAYED, |_, _| {
        served(Upstream::gunicorn(&["--timeout", "1"])?, "/sleep")
    }),
    Fault::new("inner-gateway-says-502", RELAYED, |luck, _| inner(luck)),
];

fn inner(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let inner = Gateway::before(Kind::Nginx, &upstream.addr)?;
    Cast::of(inner.addr.to_string(), move |door| {
        let _alive = (&upstream, &inner);
        door.fault("close-without-answer")
    })
}
