//! State machine replication protocols, each one [`stateright::actor::Actor`].
//!
//! A protocol here is a pure function of events: no I/O, no clock, no randomness, nothing that depends on hash order. The
//! same code is checked exhaustively, simulated with faults and run over UDP; everything that keeps it alive in the real
//! world (retries, sessions, leader change, catch-up, truncation) is therefore part of what is checked.
//!
//! | protocol | module | source |
//! |---|---|---|
//! | one server, no fault tolerance | [`unreplicated`] | the baseline of "Scaling Replicated State Machines with Compartmentalization", section 10 |
//! | single-decree Paxos | [`paxos`] | the same, section 2 |
//! | `MultiPaxos`, every server hosting all roles | [`multipaxos`] | the same, section 2 |
//! | `MultiPaxos` in parts | [`compartmentalized`] | the same, sections 3 to 5 |
//! | the same with several leaders at work at once | [`mencius`] | the same, in its first draft, section 4 |
//! | Mencius, every server hosting all roles | [`vanilla_mencius`] | the same, section 4.1 |
//! | the log orders names of batches | [`spaxos`] | its earlier draft, on S-Paxos |
//! | a chain with reads at every node | [`craq`] | the same, section 10 |
//! | Paxos whose acceptors change from round to round | [`matchmaker_paxos`] | "Matchmaker Paxos: A Reconfigurable Consensus Protocol", sections 3 and 5 |
//! | a register without a log, with the same | [`matchmaker_caspaxos`] | the same, one sentence |
//! | the same in two message delays, with `f + 1` acceptors | [`matchmaker_fast_paxos`] | the same, on Fast Paxos |
//! | `MultiPaxos` whose acceptors are exchanged while it runs | [`matchmaker_multipaxos`] | the same, section 4 |
//! | the matchmakers alone, and how they are replaced | [`matchmaker_epochs`] | the same, section 6 |
//! | tasks of a reconstruction, each done once | [`tile_ledger`] | ours, for the decomposition of arXiv:2110.07857 |
//! | a replicated graph instead of a log, in modules | [`bpaxos`] | "Bipartisan Paxos" |
//! | the same, chosen in one round trip where all acceptors agree | [`unanimous_bpaxos`] | the same, journal version |
//! | the same, every server hosting all roles | [`epaxos`] | "There Is More Consensus in Egalitarian Parliaments", the comparison |
//!
//! Shared parts: [`state_machine`] (what is replicated), [`command`] (its identity on the way through a log),
//! [`sessions`] (exactly-once), [`client`] (the client role), [`decree`] (the client of a single decree), [`queue`] (what waits at a leader), [`log`] (votes,
//! phase 1, replicas and snapshots), [`graph`] (a graph of commands instead of a log, and its executor), [`matchmaking`] (rounds with configurations of their own), [`schedule`] (which quorum is contacted when), [`durable`] (how storage is written down cheaply) and
//! [`faults`] (how a mutant is made without costing the real protocol anything).

pub mod bpaxos;
pub mod client;
pub mod command;
pub mod compartmentalized;
pub mod craq;
pub mod decree;
pub mod durable;
pub mod epaxos;
pub mod faults;
pub mod graph;
pub mod horizontal;
pub mod ids;
pub mod log;
pub mod matchmaker_caspaxos;
pub mod matchmaker_epochs;
pub mod matchmaker_fast_paxos;
pub mod matchmaker_multipaxos;
pub mod matchmaker_paxos;
pub mod matchmaking;
pub mod mencius;
pub mod multipaxos;
pub mod operator;
pub mod paxos;
pub mod queue;
pub mod schedule;
pub mod sessions;
pub mod spaxos;
pub mod state_machine;
pub mod tile_ledger;
pub mod unanimous_bpaxos;
pub mod unreplicated;
pub mod vanilla_mencius;
