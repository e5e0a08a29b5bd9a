//! A verdict as one line of JSON.

use probe502_core::verdict::Verdict;

/// The whole verdict and a newline.
pub fn line(verdict: &Verdict) -> serde_json::Result<String> {
    verdict.to_json().map(|object| object + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::example;

    #[test]
    fn the_line_names_its_schema_and_reads_back() {
        let line = line(&example::verdict()).expect("serializable");
        assert!(
            line.starts_with(r#"{"schema":"probe502.verdict/1","#),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
        let mut read: Verdict = serde_json::from_str(&line).expect("readable");
        read.answered_at = example::verdict().answered_at;
        assert_eq!(read, example::verdict());
    }
}
