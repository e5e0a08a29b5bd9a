//! Storms behind one gateway after the other, as `cargo xtask accuracy --storm` asks for them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::judge::Sum;
use super::{Weather, behind, page};
use crate::gateways::Kind;

/// Those that take a storm.
pub const KINDS: [Kind; 5] = [
    Kind::Nginx,
    Kind::Haproxy,
    Kind::Envoy,
    Kind::Caddy,
    Kind::Traefik,
];

/// Plays each weather behind each gateway, and leaves recordings and what was not right in a folder, and
/// a page where one is asked for. Whether all were good.
///
/// # Errors
/// When the cast does not start, or a file cannot be written.
pub fn all(
    kinds: &[Kind],
    weathers: &[Weather],
    keep: &Path,
    write: Option<&Path>,
) -> Result<bool> {
    std::fs::create_dir_all(keep)?;
    let mut played: Vec<(Weather, Sum)> = Vec::new();
    let mut versions = BTreeMap::new();
    let mut lines = String::new();
    for kind in kinds {
        versions.insert(*kind, kind.version()?);
        for weather in weathers {
            let sort = if weather.identical { "-identical" } else { "" };
            let name = format!("storm-{}-{}{sort}.p502", kind.name(), weather.seed);
            let record = keep.join(name).display().to_string();
            let sum = behind(*kind, weather, Some(&record))?;
            println!("{}", sum.line());
            lines += &format!("{}\n{}\n", sum.line(), sum.examples.join("\n"));
            played.push((weather.clone(), sum));
        }
    }
    std::fs::write(keep.join("storm.txt"), lines)?;
    if let Some(file) = write {
        std::fs::write(file, page::page(&played, &versions))?;
    }
    // One line for all requests may leave their answers unknown, never wrong.
    Ok(played
        .iter()
        .all(|(weather, sum)| sum.is_good() || weather.identical && sum.is_honest()))
}
