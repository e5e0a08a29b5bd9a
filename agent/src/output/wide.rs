//! A verdict as one line for people.

use probe502_core::verdict::Verdict;

use super::paint::{Paint, harmless};
use super::text;

/// Time, status, cause, confidence, what was asked, of whom, and the sentence.
pub fn line(verdict: &Verdict, paint: Paint) -> String {
    let upstream = verdict
        .upstream
        .as_ref()
        .map_or("-", |upstream| upstream.addr.as_str());
    format!(
        "{}  {}  {:<27} {:<8}  {}[{}] → {}  {}  {}\n",
        text::time(verdict),
        paint.red(&text::got(verdict)),
        verdict.cause.id(),
        paint.confidence(verdict.confidence, text::confidence(verdict.confidence)),
        harmless(&verdict.gateway.who.comm),
        verdict.gateway.who.pid.0,
        harmless(upstream),
        text::request(&verdict.request),
        harmless(&verdict.sentence),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::example;

    #[test]
    fn it_is_one_line_even_where_the_path_is_hostile() {
        let mut verdict = example::verdict();
        verdict.request.path = Some("/a\nb".to_owned());
        let line = line(&verdict, Paint::Plain);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains("process.oom.cgroup          proven    nginx[812] → 10.4.1.7:8000"));
    }
}
