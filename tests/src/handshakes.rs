//! Upstreams behind TLS, or behind something else: `handshakes.py`, and certificates made on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::client::next_id;
use crate::upstream::{Upstream, programs};

/// An authority, and a certificate for `shop.test` that it has signed.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Makes them with `openssl`, in a folder of their own.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn make() -> Result<Self> {
        let name = format!("probe502-tls-{}-{}", std::process::id(), next_id());
        let made = Self {
            dir: std::env::temp_dir().join(name),
        };
        std::fs::create_dir_all(&made.dir)?;
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let rsa = "-newkey rsa:2048 -nodes";
        made.run(&format!(
            "req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
        ))?;
        made.run(&format!(
            "req -x509 {rsa} -days 2 -subj /CN=shop.test -addext subjectAltName=DNS:shop.test \
             -addext basicConstraints=CA:FALSE -CA ca.pem -CAkey ca.key -keyout key.pem -out cert.pem"
        ))
        .or_else(|_| made.sign(rsa))?;
        Ok(made)
    }

    /// In two steps, where `req` cannot sign with an authority.
    fn sign(&self, key: &str) -> Result<()> {
        std::fs::write(
            self.dir.join("names"),
            "subjectAltName=DNS:shop.test\nbasicConstraints=CA:FALSE\n",
        )?;
        self.run(&format!(
            "req {key} -subj /CN=shop.test -keyout key.pem -out wish.pem"
        ))?;
        self.run(
            "x509 -req -in wish.pem -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial \
             -extfile names -out cert.pem",
        )
    }

    fn run(&self, words: &str) -> Result<()> {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.dir)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "openssl {words}: {said}");
        Ok(())
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Starts `handshakes.py` in this mode, with the certificate.
    ///
    /// # Errors
    /// When it does not start.
    pub fn upstream(&self, mode: &str) -> Result<Upstream> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let program: &Path = &programs().join("handshakes.py");
        Upstream::python(program, &[mode, &file("cert.pem"), &file("key.pem")])
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Says a ClientHello to a server, so that it answers with its part of the handshake.
///
/// # Errors
/// When it does not.
pub fn shake_hands(addr: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", addr])
        .stdin(std::process::Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains("Server certificate"), "no handshake: {said}");
    Ok(())
}
