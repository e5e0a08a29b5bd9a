//! A Markdown page as plain text for a terminal.

use super::paint::Paint;

/// Lines of prose are broken here: comfortable to read, and 80 columns are everywhere.
const WIDTH: usize = 80;

/// Headings bold, prose wrapped, code as it is.
pub fn render(markdown: &str, paint: Paint) -> String {
    let mut out = String::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            out.push_str(&format!("    {line}\n"));
        } else if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim();
            out.push_str(&format!("{}\n", paint.bold(&inline(heading))));
        } else if line.starts_with("    ") || line.starts_with('|') {
            out.push_str(&format!("{line}\n"));
        } else {
            wrap(&mut out, &inline(line));
        }
    }
    out
}

/// The first paragraph under the title, on one line.
pub fn summary(markdown: &str) -> Option<String> {
    let mut lines = markdown
        .lines()
        .skip_while(|line| line.starts_with('#') || line.is_empty());
    lines.next().map(inline)
}

/// Without emphasis; links as their text; code that holds spaces in quotes.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        let code = number % 2 == 1;
        match (code, code && part.contains(' ')) {
            (true, true) => out.push_str(&format!("'{part}'")),
            (true, false) => out.push_str(part),
            (false, _) => out.push_str(&links(&part.replace("**", ""))),
        }
    }
    out
}

fn links(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let link = after.split_once("](").and_then(|(label, target)| {
            target
                .split_once(')')
                .map(|(target, rest)| (label, target, rest))
        });
        let Some((label, target, tail)) = link else {
            out.push('[');
            rest = after;
            continue;
        };
        out.push_str(label);
        if target.starts_with("http") {
            out.push_str(&format!(" <{target}>"));
        }
        rest = tail;
    }
    out + rest
}

/// Breaks at spaces; an item's further lines stand under its text.
fn wrap(out: &mut String, line: &str) {
    let start = line.len() - line.trim_start().len();
    let item = line.trim_start();
    let hang = start + if item.starts_with("- ") { 2 } else { 0 };
    let mut column = start;
    out.push_str(&" ".repeat(start));
    for (number, word) in item.split(' ').enumerate() {
        let width = word.chars().count();
        if number > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            column = hang;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_plain_text() {
        let page = "# a.b\n\nIt **ends** by `kill -9` or `abort()`, see [here](x.md).\n\n    code  `kept`\n";
        let expected = "a.b\n\nIt ends by 'kill -9' or abort(), see here.\n\n    code  `kept`\n";
        assert_eq!(render(page, Paint::Plain), expected);
    }

    #[test]
    fn prose_is_wrapped_and_items_hang() {
        let page = format!("- {}\n", "word ".repeat(30).trim_end());
        let rendered = render(&page, Paint::Plain);
        assert!(rendered.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(
            rendered
                .lines()
                .skip(1)
                .all(|line| line.starts_with("  word"))
        );
    }

    #[test]
    fn the_summary_is_the_first_paragraph() {
        assert_eq!(
            summary("# x\n\nThe `y` ended.\n\nMore."),
            Some("The y ended.".to_owned())
        );
        assert_eq!(summary("# x\n"), None);
    }
}
