//! One test binary: one link step, and `cargo test NAME` selects by module.

#![allow(
    clippy::unwrap_used,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "all of this is tests"
)]

mod backup;
mod bpaxos;
mod bpaxos_runs;
mod cli;
mod clients;
mod compartmentalized;
mod craq;
mod decree;
mod disk;
mod epaxos;
mod figures;
mod front_door;
mod harness;
mod homes;
mod horizontal;
mod hosts;
mod manifest;
mod matchmaker_caspaxos;
mod matchmaker_epochs;
mod matchmaker_fast_paxos;
mod matchmaker_multipaxos;
mod matchmaker_paxos;
mod memory;
mod mencius;
mod message_law;
mod multipaxos;
mod operations;
mod paxos;
mod quorums;
mod reconfiguration_figures;
mod resp;
mod scenario;
mod security;
mod spaxos;
mod storms;
mod strategy;
mod tidy;
mod tile_ledger;
mod tomo;
mod unanimous_bpaxos;
mod unreplicated;
mod vanilla_mencius;
mod weak_reads;
