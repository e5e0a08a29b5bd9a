//! What gateways write into their own logs, by what they saw: for `explain --says` and the manual.

use std::fmt::Write as _;

use probe502_core::says::{Blanks, Product, Sight};

/// The gateways that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Products(pub Vec<Product>);

/// One by its name, or all of them.
pub fn products(name: &str) -> Result<Products, String> {
    if name == "all" {
        return Ok(Products(Product::ALL.to_vec()));
    }
    name.parse().map(|product| Products(vec![product]))
}

/// For each sight, the words of each product.
pub fn text(sights: &[Sight], Products(products): &Products) -> String {
    let mut out = String::new();
    for sight in sights {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {}", sight.id(), sight.title());
        for product in products {
            let words = filled(*product, *sight);
            let shown = if words.is_empty() {
                vec![silence(*product).to_owned()]
            } else {
                words
            };
            for (number, line) in shown.iter().enumerate() {
                let name = if number == 0 { product.name() } else { "" };
                let _ = writeln!(out, "  {name:<8} {line}");
            }
        }
    }
    out
}

fn filled(product: Product, sight: Sight) -> Vec<String> {
    let blanks = Blanks::general(sight);
    let words = product.words(sight).iter();
    words.map(|words| blanks.fill(words)).collect()
}

const fn silence(product: Product) -> &'static str {
    match product {
        Product::Alb | Product::Gcp => "(not documented)",
        Product::Nginx
        | Product::Haproxy
        | Product::Envoy
        | Product::Apache
        | Product::Caddy
        | Product::Traefik => "(nothing)",
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use probe502_core::cause::Cause;
    use probe502_core::says::sights;

    use super::*;

    /// `docs/gateways.md`: from a gateway's line to the causes that it may stand for.
    fn document() -> String {
        let mut out = String::from(HEAD);
        for product in Product::ALL {
            let _ = writeln!(out, "- {}", product.place());
        }
        for sight in Sight::ALL {
            let _ = writeln!(
                out,
                "\n## {}\n\nWhat the gateway saw: {}.\n",
                sight.id(),
                sight.title()
            );
            for product in Product::ALL {
                let words: Vec<String> = filled(product, sight)
                    .iter()
                    .map(|words| format!("`{words}`"))
                    .collect();
                if !words.is_empty() {
                    let _ = writeln!(out, "- {}: {}", product.name(), words.join(", or "));
                }
            }
            let causes: Vec<String> = Cause::ALL
                .iter()
                .filter(|cause| claims(**cause) && sights(**cause).contains(&sight))
                .map(|cause| format!("[{cause}](causes/{cause}.md)"))
                .collect();
            if !causes.is_empty() {
                let _ = writeln!(out, "\nMay be: {}.", causes.join(", "));
            }
        }
        out
    }

    fn claims(cause: Cause) -> bool {
        !cause.id().starts_with("unknown.")
    }

    const HEAD: &str = "# What gateways write into their logs

A gateway's own log tells what its socket saw, never why: the same line stands for a dozen causes. Here is each line that it may write, by what it saw, and the causes that probe502 tells apart behind it. A verdict's `gateway_says` is the line for that very event; `probe502 explain CAUSE --says nginx` shows a cause's lines.

`…` stands for what differs from event to event. Where the words stand:

";

    /// The line of a cause's page that leads to its lines.
    fn link(cause: Cause) -> Option<String> {
        let links = |sights: &[Sight]| {
            let link = |sight: &Sight| format!("[{0}](../gateways.md#{0})", sight.id());
            sights.iter().map(link).collect::<Vec<_>>().join(", ")
        };
        claims(cause).then(|| {
            format!(
                "Each gateway's own words, by what its socket saw: {}. Here: `probe502 explain {cause} --says`.",
                links(sights(cause))
            )
        })
    }

    const HEADING: &str = "## How gateways word it\n";
    const ADVICE: &str =
        "PROBE502_WRITE=1 cargo test -p probe502 -- commands::says` writes it anew";

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
    }

    /// Compares, or writes where that was asked for.
    fn must_be(path: &Path, wanted: &str) {
        if std::env::var_os("PROBE502_WRITE").is_some() {
            std::fs::write(path, wanted).expect("written");
        }
        let is = std::fs::read_to_string(path).unwrap_or_default();
        assert!(is == wanted, "{}: `{ADVICE}", path.display());
    }

    #[test]
    fn the_document_is_the_tables() {
        must_be(&docs().join("gateways.md"), &document());
    }

    #[test]
    fn each_page_leads_to_its_lines() {
        for cause in Cause::ALL.iter().copied() {
            let path = docs().join(format!("causes/{cause}.md"));
            let page = std::fs::read_to_string(&path).expect("a page");
            let Some(link) = link(cause) else { continue };
            let (before, section) = page.split_once(HEADING).unwrap_or((&page, ""));
            let kept: Vec<&str> = section
                .lines()
                .filter(|line| !line.starts_with("Each gateway's own words"))
                .collect();
            let kept = kept.join("\n");
            let kept = kept.trim();
            let more = if kept.is_empty() {
                String::new()
            } else {
                format!("\n{kept}\n")
            };
            let before = before.trim_end();
            must_be(&path, &format!("{before}\n\n{HEADING}\n{link}\n{more}"));
        }
    }

    #[test]
    fn what_is_asked_for_is_shown() {
        let nginx = products("nginx").expect("known");
        let shown = text(sights(Cause::ListenerAbsent), &nginx);
        assert_eq!(
            shown,
            "refused: the upstream refused the connection\n  nginx    connect() failed (111: \
             Connection refused) while connecting to upstream\n"
        );
        let all = products("all").expect("known");
        let shown = text(&[Sight::Relayed], &all);
        assert!(shown.contains("  nginx    (nothing)\n"), "{shown}");
        assert!(
            shown.contains("  gcp      response_sent_by_backend\n"),
            "{shown}"
        );
        assert!(products("iis").is_err());
    }
}
