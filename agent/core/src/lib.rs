//! What it means: events in, verdicts out. No clock, no file, no socket, no kernel.
#![forbid(unsafe_code)]

mod amounts;
pub mod asking;
mod attempts;
pub mod cause;
mod clock;
mod closing;
mod connections;
pub mod correlator;
pub mod decode;
mod diagnose;
pub mod event;
mod evidence;
mod facts;
mod fitting;
mod foreign;
mod habits;
mod http;
mod joining;
mod listeners;
pub mod looks;
mod memory;
mod network;
pub mod packets;
mod processes;
mod recent;
mod redact;
mod remedy;
pub mod says;
mod sentence;
mod settings;
pub mod story;
mod telling;
mod tls;
pub mod units;
pub mod verdict;
mod wording;
