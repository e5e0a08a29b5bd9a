//! Every fault behind every gateway that can meet it: what was said of each failed answer.

pub mod cast;
pub mod door;
pub mod faults;
pub mod gate;
pub mod judge;
pub mod kept;
pub mod luck;
pub mod page;
pub mod run;
pub mod unfailed;

use crate::gateways::Kind;
use cast::Cast;
use luck::Luck;

/// What must be said of a fault's failed answer.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// The right causes: one, or those between which the real programs themselves race.
    pub causes: &'static [&'static str],
    /// What the gateway's socket may have seen.
    pub symptoms: &'static [&'static str],
    /// Why more than one cause is right.
    pub because: &'static str,
}

impl Truth {
    /// Whether an answer breaks off within its body, which has no failed status.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.symptoms.contains(&CUT)
    }
}

/// The symptom of that.
const CUT: &str = "truncated";

/// One cause, and the symptoms that can go with it.
#[must_use]
pub const fn truth(causes: &'static [&'static str], symptoms: &'static [&'static str]) -> Truth {
    Truth {
        causes,
        symptoms,
        because: "",
    }
}

/// What is right behind Squid where an upstream was dead from the start: it dials its dead peers on its
/// own account, and then answers without asking any of them.
#[must_use]
pub const fn probed(
    causes: &'static [&'static str],
    symptoms: &'static [&'static str],
) -> (Kind, Truth) {
    let because = "Squid finds out for itself that a peer is dead, and then may ask none";
    let truth = Truth {
        causes,
        symptoms,
        because,
    };
    (Kind::Squid, truth)
}

/// A way to fail.
#[derive(Clone, Copy)]
pub struct Fault {
    /// As the command line and the tables call it.
    pub name: &'static str,
    /// What is right behind most gateways.
    pub truth: Truth,
    /// What is right behind these instead.
    pub but: &'static [(Kind, Truth)],
    /// Behind which gateways nothing can be claimed of it, and why.
    pub unknown: &'static [(Kind, &'static str)],
    /// Whether a gateway can meet it.
    pub meets: fn(Kind) -> bool,
    /// Makes the upstreams and says how to break them.
    pub cast: fn(&mut Luck, Kind) -> anyhow::Result<Cast>,
}

impl Fault {
    /// A fault that every gateway can meet.
    #[must_use]
    pub const fn new(
        name: &'static str,
        truth: Truth,
        cast: fn(&mut Luck, Kind) -> anyhow::Result<Cast>,
    ) -> Self {
        Self {
            name,
            truth,
            but: &[],
            unknown: &[],
            meets: |_| true,
            cast,
        }
    }

    /// The same, of these gateways only.
    #[must_use]
    pub const fn only(self, meets: fn(Kind) -> bool) -> Self {
        Self { meets, ..self }
    }

    /// The same, with another truth behind some.
    #[must_use]
    pub const fn but(self, but: &'static [(Kind, Truth)]) -> Self {
        Self { but, ..self }
    }

    /// The same, with the reasons why nothing can be claimed of it behind some.
    #[must_use]
    pub const fn unknown(self, unknown: &'static [(Kind, &'static str)]) -> Self {
        Self { unknown, ..self }
    }

    /// The same, with the reason why several causes are right.
    #[must_use]
    pub const fn because(self, because: &'static str) -> Self {
        let truth = Truth {
            because,
            ..self.truth
        };
        Self { truth, ..self }
    }

    /// What is right behind this gateway.
    #[must_use]
    pub fn truth_behind(&self, kind: Kind) -> Truth {
        let other = self.but.iter().find(|(other, _)| *other == kind);
        other.map_or(self.truth, |(_, truth)| *truth)
    }
}

impl Fault {
    /// Why nothing can be claimed of it behind this gateway, if so.
    #[must_use]
    pub fn why_unknown(&self, kind: Kind) -> Option<&'static str> {
        let own = self.unknown.iter().find(|(other, _)| *other == kind);
        own.map(|(_, why)| *why)
    }
}

/// One fault behind one gateway.
#[derive(Clone, Copy)]
pub struct Cell {
    /// The gateway.
    pub kind: Kind,
    /// The fault.
    pub fault: &'static Fault,
}

impl Cell {
    /// `GATEWAY/FAULT`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.kind.name(), self.fault.name)
    }
}

/// Every cell there is, gateway by gateway.
#[must_use]
pub fn matrix() -> Vec<Cell> {
    let mut cells = Vec::new();
    for kind in Kind::ALL {
        let met = faults::all().filter(|fault| (fault.meets)(kind));
        cells.extend(met.map(|fault| Cell { kind, fault }));
    }
    cells
}

/// A part that has every fault once and every gateway as often as the others: the fault's number
/// says behind which it is met.
#[must_use]
pub fn sample() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (number, fault) in faults::all().enumerate() {
        let turn = (0..Kind::ALL.len()).map(|step| Kind::ALL[(number + step) % Kind::ALL.len()]);
        let first = turn.into_iter().find(|kind| (fault.meets)(*kind));
        cells.extend(first.map(|kind| Cell { kind, fault }));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_every_fault_and_every_gateway_thrice() {
        let sample = sample();
        assert_eq!(sample.len(), faults::all().count());
        for kind in Kind::ALL {
            let count = sample.iter().filter(|cell| cell.kind == kind).count();
            assert!(count >= 3, "{} {count}", kind.name());
        }
    }

    #[test]
    fn a_reason_is_given_only_where_the_fault_is_met() {
        for fault in faults::all() {
            for (kind, why) in fault.unknown {
                assert!((fault.meets)(*kind) && !why.is_empty(), "{}", fault.name);
            }
        }
    }

    #[test]
    fn no_two_faults_share_a_name_and_sets_have_a_reason() {
        let mut names: Vec<_> = faults::all().map(|fault| fault.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for fault in faults::all() {
            for kind in Kind::ALL {
                let truth = fault.truth_behind(kind);
                assert!(
                    truth.causes.len() == 1 || !truth.because.is_empty(),
                    "{}",
                    fault.name
                );
            }
        }
    }
}
