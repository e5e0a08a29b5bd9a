//! What libFuzzer once found, or found worth keeping, stays without harm: the fuzz targets over their corpus.

use std::path::Path;

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// A target.
type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] = [
    ("decode", targets::decode),
    ("replay", targets::replay),
    ("heads", targets::heads),
    ("lookup", targets::lookup),
    ("order", targets::order),
];

#[test]
fn what_was_found_harms_nobody() {
    for (name, target) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fuzz/corpus")
            .join(name);
        let files = std::fs::read_dir(&corpus).into_iter().flatten().flatten();
        let inputs: Vec<_> = files
            .filter_map(|file| std::fs::read(file.path()).ok())
            .collect();
        assert!(!inputs.is_empty(), "{} is empty", corpus.display());
        inputs.iter().for_each(|bytes| target(bytes));
    }
}
