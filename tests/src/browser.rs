//! A headless browser that uses the daemon's live page as a person does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::running::Running;
use crate::venv;

/// The page of one daemon, open in a browser. What it can be told is listed in `browser/live_page.py`.
pub struct Browser {
    process: Running,
    asked: usize,
}

impl Browser {
    /// Opens the page; a screenshot that is ordered goes to `picture`.
    pub fn open(daemon: SocketAddr, picture: &Path) -> Result<Self> {
        let python = venv::environment("browser", &["selenium"])?.join("bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/live_page.py");
        let mut command = Command::new::<PathBuf>(python);
        let address = format!("http://{daemon}/");
        command.arg(script).arg(address).arg(picture);
        let process = Running::start(&mut command)?;
        let mut browser = Self { process, asked: 0 };
        // The first line says that the page is open.
        browser.hear("opening the page")?;
        Ok(browser)
    }

    /// Orders something; the answer to it.
    pub fn order(&mut self, order: &str) -> Result<String> {
        self.process.tell(order)?;
        self.asked += 1;
        self.hear(order)
    }

    fn hear(&mut self, order: &str) -> Result<String> {
        // A browser takes its time to start beside other work; what the product takes is measured in the page.
        let patience = Duration::from_secs(180);
        let line = self.process.out.wait_behind(self.asked, patience, |_| true);
        line.map(|line| line.text)
            .with_context(|| format!("'{order}': {}", self.process.err.text()))
    }
}
