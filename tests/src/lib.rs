//! The harness of the end-to-end tests: real gateways, upstreams that really break, the real binary.

pub mod accuracy;
pub mod agent;
pub mod certificate;
pub mod cgroup;
pub mod client;
pub mod daemon;
pub mod firewall;
pub mod gateways;
pub mod handshakes;
pub mod lines;
pub mod netns;
pub mod nginx;
pub mod paths;
pub mod place;
pub mod prometheus;
pub mod repertoire;
pub mod route;
pub mod running;
pub mod schema;
pub mod servers;
pub mod skip;
pub mod stage;
pub mod storm;
pub mod upstream;
pub mod venv;
pub mod watch;
