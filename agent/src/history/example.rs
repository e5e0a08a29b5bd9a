//! Rows for the tests of the history.

use super::Row;

/// A verdict of this number and time, about as large as a verdict is.
pub fn row(number: usize, time: &str) -> Row {
    Row {
        id: format!("{number:x}-1"),
        time: time.to_owned(),
        status: 502,
        cause: "listener.absent",
        upstream: Some("10.4.1.7:8000".to_owned()),
        gateway: "nginx".to_owned(),
        json: format!("{number} {}", "x".repeat(1800)).into(),
    }
}
