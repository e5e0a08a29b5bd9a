//! A certificate for `shop.test` that signed itself, removed when dropped.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::client::next_id;

/// A certificate and its key, in a folder of their own.
pub struct Certificate {
    dir: PathBuf,
}

impl Certificate {
    /// Makes one, valid for two days.
    ///
    /// # Errors
    /// When openssl refuses.
    pub fn make() -> Result<Self> {
        let name = format!("probe502-certificate-{}-{}", std::process::id(), next_id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let own = Self { dir };
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args([
                "-subj",
                "/CN=shop.test",
                "-addext",
                "subjectAltName=DNS:shop.test",
            ])
            .arg("-out")
            .arg(own.file())
            .arg("-keyout")
            .arg(own.key())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl: {said}");
        Ok(own)
    }

    /// The certificate, which is its own authority.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.join("key.pem")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
