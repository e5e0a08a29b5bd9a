//! What a part of the matrix must show before it passes.

use super::judge::{Judged, Mark};
use super::page;
use super::unfailed::is_foreseen;

/// As many as the matrix's 2 % are of some eighty cells.
const UNKNOWN: usize = 2;
/// So many upstreams may fail to break even when they have the machine for themselves.
const BROKEN: usize = 1;

/// Whether it is worth another try: a crowded machine breaks some upstreams too late, and other loads
/// on it may take an agent's records away.
#[must_use]
pub fn is_open(cell: &Judged) -> bool {
    cell.mark == Mark::Broken || is_unexplained(cell) || !is_foreseen(cell)
}

fn is_unexplained(cell: &Judged) -> bool {
    cell.mark == Mark::Unknown && page::why_unknown(cell).is_none()
}

/// Why these cells do not pass; empty where they do.
#[must_use]
pub fn complaints(cells: &[Judged]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |of: &str, most: usize, fits: &dyn Fn(&Judged) -> bool| {
        let found: Vec<&Judged> = cells.iter().filter(|cell| fits(cell)).collect();
        if found.len() > most {
            let said = found.iter();
            let said = said.map(|cell| format!("{of}: {}\n{:#}", page::line(cell), cell.verdict));
            complaints.extend(said);
        }
    };
    complain("not right", 0, &|cell| cell.mark.is_bad());
    complain("no failed answer", 0, &|cell| !is_foreseen(cell));
    complain("not explained", 0, &|cell| {
        is_unexplained(cell) && cell.field("/cause") != "unknown.evidence-lost"
    });
    complain("too many unknown", UNKNOWN, &|cell| {
        cell.mark == Mark::Unknown
    });
    complain("not made", BROKEN, &|cell| cell.mark == Mark::Broken);
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::{Cell, sample};

    fn judged(cell: &Cell, mark: Mark, cause: &str) -> Judged {
        Judged {
            mark,
            verdict: serde_json::json!({ "cause": cause }),
            ..Judged::broken(*cell, &anyhow::anyhow!("no upstream"))
        }
    }

    /// The first of these so, and all the others right.
    fn with(count: usize, mark: Mark, cause: &str) -> Vec<Judged> {
        let sample = sample();
        let cells = sample.iter().enumerate();
        let mark = |number: usize| if number < count { mark } else { Mark::Right };
        cells
            .map(|(number, cell)| judged(cell, mark(number), cause))
            .collect()
    }

    #[test]
    fn an_agent_that_answers_unknown_to_everything_fails() {
        let lost = |count| complaints(&with(count, Mark::Unknown, "unknown.evidence-lost"));
        assert!(lost(UNKNOWN).is_empty());
        assert_eq!(lost(UNKNOWN + 1).len(), UNKNOWN + 1);
        assert_eq!(
            complaints(&with(1, Mark::Unknown, "unknown.unexplained")).len(),
            1
        );
    }

    #[test]
    fn a_fault_that_is_not_made_is_no_success() {
        for mark in [Mark::Wrong, Mark::Missed, Mark::Spurious] {
            assert_eq!(complaints(&with(1, mark, "")).len(), 1);
        }
        // What closes without an answer behind no gateway, and is hidden by none.
        for mark in [Mark::Hidden, Mark::Silent] {
            assert_eq!(complaints(&with(1, mark, "")).len(), 1);
            assert!(is_open(&with(1, mark, "")[0]));
        }
        assert!(complaints(&with(BROKEN, Mark::Broken, "")).is_empty());
        assert_eq!(complaints(&with(3, Mark::Broken, "")).len(), 3);
    }

    #[test]
    fn what_a_gateway_is_known_to_hide_passes() {
        let cells = sample();
        let hides = |cell: &&Cell| cell.name() == "squid/memcached";
        let cell = cells.iter().find(hides).copied();
        let hidden = cell.map(|cell| judged(&cell, Mark::Hidden, ""));
        assert!(hidden.is_none_or(|cell| !is_open(&cell) && complaints(&[cell]).is_empty()));
    }
}
