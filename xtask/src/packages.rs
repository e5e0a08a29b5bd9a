//! Debian packages, installed when missing and without starting a service.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{as_root, read, run};

/// Services that a package brings must not start: the tests run their own. The policy file lives
/// only as long as apt runs, and one that was there before stays.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
# Another run may hold the lock.
wait="-o DPkg::Lock::Timeout=300"
apt-get $wait update -qq
# What goes wrong is on standard error.
apt-get $wait install -qq -y --no-install-recommends "$@" > /dev/null
"#;

/// Installs those packages that are missing; none missing, nothing runs.
pub fn install(wanted: &[&str]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {} with apt-get", missing.join(" "));
    let mut command = as_root("sh");
    command.args(["-c", INSTALL, "sh"]).args(&missing);
    command.stdin(Stdio::null());
    run(&mut command).with_context(|| format!("cannot install {}", missing.join(" ")))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", package]);
    read(&mut query).is_ok_and(|status| status == "installed")
}
