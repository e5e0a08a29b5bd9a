//! A table of nftables rules, removed when dropped.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::client::next_id;

/// Rules of ours, in a table of our own; they name one port, so nobody else's packets meet them.
pub struct Firewall {
    table: String,
}

impl Firewall {
    /// One rule at a hook (`input`, `output`).
    ///
    /// # Errors
    /// When nft refuses.
    pub fn rule(hook: &str, rule: &str) -> Result<Self> {
        let table = format!("probe502_{}_{}", std::process::id(), next_id());
        let rules = format!(
            "table inet {table} {{\nchain {hook} {{\ntype filter hook {hook} priority 0\n{rule}\n}}\n}}"
        );
        nft(&rules)?;
        Ok(Self { table })
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        let _ = nft(&format!("delete table inet {}", self.table));
    }
}

fn nft(rules: &str) -> Result<()> {
    let output = Command::new("nft").arg(rules).output()?;
    ensure!(
        output.status.success(),
        "nft '{rules}': {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
