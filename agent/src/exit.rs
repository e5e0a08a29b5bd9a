//! The one place that turns errors into exit codes and messages.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::kernel::Blocked;

/// Ends that are not failures of the run itself.
#[derive(Debug, thiserror::Error)]
pub enum Ending {
    /// `doctor` found hooks or senses missing; it has said which.
    #[error("degraded: {0}")]
    Degraded(String),
    /// What was asked for is not understood; it says what would be.
    #[error("{0}")]
    Usage(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
}

/// Says what went wrong, on stderr, and gives its code.
pub fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("probe502: {error:#}");
    ExitCode::from(number(&error))
}

/// 1 runtime error, 2 usage (also clap's own), 3 blocked, 4 degraded, 5 not found.
fn number(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Blocked>().is_some() {
        return 3;
    }
    match error.downcast_ref::<Ending>() {
        Some(Ending::Usage(_)) => 2,
        Some(Ending::Degraded(_)) => 4,
        Some(Ending::NotFound(_)) => 5,
        None => 1,
    }
}

/// A reader such as `head` that has seen enough is no error.
fn closed_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_ending_has_its_code_whatever_its_context() {
        let of = |error: anyhow::Error| number(&error.context("while trying"));
        assert_eq!(of(anyhow::anyhow!("x")), 1);
        assert_eq!(of(Blocked::NoPrivilege("x".into()).into()), 3);
        assert_eq!(of(Ending::Usage("x".into()).into()), 2);
        assert_eq!(of(Ending::Degraded("x".into()).into()), 4);
        assert_eq!(of(Ending::NotFound("x".into()).into()), 5);
    }

    #[test]
    fn only_a_closed_pipe_is_no_error() {
        let io = |kind| Err::<(), _>(std::io::Error::from(kind)).context("cannot write");
        assert!(closed_pipe(
            &io(ErrorKind::BrokenPipe).expect_err("made so")
        ));
        assert!(!closed_pipe(
            &io(ErrorKind::StorageFull).expect_err("made so")
        ));
    }
}
