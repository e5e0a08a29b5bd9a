//! What the command line and the environment say to the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::settings::Level;
use crate::cli::ring;

/// What flags and the environment say; what they leave open the file may say.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The configuration file; without it, /etc/probe502/config.toml where it exists
    #[arg(long, value_name = "FILE", env = "PROBE502_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where metrics, health and the live page are served [default: 127.0.0.1:9502]
    #[arg(long, value_name = "ADDRESS", env = "PROBE502_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Keep verdicts in this file for `probe502 history`
    #[arg(long, value_name = "FILE", env = "PROBE502_HISTORY")]
    pub history: Option<PathBuf>,
    /// The history's size at most, in MiB [default: 256]
    #[arg(long, value_name = "MIB", env = "PROBE502_HISTORY_MB",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub history_mb: Option<u64>,
    /// The history's age at most, in days [default: 30]
    #[arg(long, value_name = "DAYS", env = "PROBE502_HISTORY_DAYS",
          value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub history_days: Option<u64>,
    /// Status codes to watch, separated by commas [default: 502]
    #[arg(long, value_name = "CODE", value_delimiter = ',', env = "PROBE502_STATUS",
          value_parser = clap::value_parser!(u16).range(400..600))]
    pub status: Option<Vec<u16>>,
    /// Watch failures without a status too
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "YES",
          env = "PROBE502_SILENT")]
    pub silent: Option<bool>,
    /// Only gateways that listen on these ports, or upstreams on them
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        env = "PROBE502_PORT"
    )]
    pub port: Option<Vec<u16>>,
    /// Only where the gateway's or the upstream's process or script has one of these names
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        env = "PROBE502_PROCESS"
    )]
    pub process: Option<Vec<String>>,
    /// Names of upstreams in metrics at most; further ones are `_other` [default: 200]
    #[arg(long, value_name = "N", env = "PROBE502_UPSTREAMS",
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub upstreams: Option<u64>,
    /// Show processes with the arguments of their command lines: passwords may be among them
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "YES",
          env = "PROBE502_ARGUMENTS")]
    pub arguments: Option<bool>,
    /// Name pods, workloads and containers of this node as the Kubernetes API server does; the node is
    /// NODE_NAME's, else this host's
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "YES",
          env = "PROBE502_KUBERNETES")]
    pub kubernetes: Option<bool>,
    /// Room for records between two reads: a power of two, a page at least; two times as much
    /// memory is resident once it was full. Too small, records are lost, and verdicts are unknown
    /// [default: 2097152]
    #[arg(long, value_name = "BYTES", env = "PROBE502_RING_BYTES", value_parser = ring)]
    pub ring_bytes: Option<u32>,
    /// End at once where a hook is missing, instead of running degraded
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "YES",
          env = "PROBE502_STRICT")]
    pub strict: Option<bool>,
    /// How much the log tells [default: info]
    #[arg(long, value_name = "LEVEL", value_enum, env = "PROBE502_LOG")]
    pub log: Option<Level>,
}
