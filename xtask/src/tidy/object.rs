//! The committed object is the one whose origin stands beside it.

use super::Finding;
use super::tree::Tree;
use crate::ebpf::sha256;

const OBJECT: &str = "ebpf/probe502.bpf.o";
const RECORD: &str = "ebpf/probe502.bpf.toolchain";

pub fn the_object_is_recorded(tree: &Tree) -> Vec<Finding> {
    let advice = "run `cargo xtask ebpf` and commit ebpf/probe502.bpf.*";
    let (Some(object), Some(record)) = (tree.at(OBJECT), tree.at(RECORD)) else {
        return vec![Finding::new(
            OBJECT,
            1,
            format!("the object or its record is missing: {advice}"),
        )];
    };
    let digest = format!("sha256 {}", sha256(&object.bytes));
    if record.text.lines().any(|line| line == digest) {
        return Vec::new();
    }
    vec![Finding::new(
        RECORD,
        record.line_of("sha256"),
        format!("another object's digest: {advice}"),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_needs_its_own_record() {
        let right = format!("sha256 {}\n", sha256(b"object"));
        let tree = |record: &str| Tree::made_up(&[(OBJECT, "object"), (RECORD, record)]);
        assert!(the_object_is_recorded(&tree(&right)).is_empty());
        assert_eq!(the_object_is_recorded(&tree("sha256 00\n")).len(), 1);
        assert_eq!(the_object_is_recorded(&Tree::made_up(&[])).len(), 1);
    }
}
