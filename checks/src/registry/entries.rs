//! The entries themselves: for each protocol its names, its manifest, and how a row becomes a model.

use super::{Model, Protocol};
use crate::manifest::Row;
use parthood_models::bpaxos::Bpaxos;
use parthood_models::compartmentalized::Compartmentalized;
use parthood_models::craq::Craq;
use parthood_models::epaxos;
use parthood_models::horizontal::Horizontal;
use parthood_models::matchmaker_caspaxos::MatchmakerCaspaxos;
use parthood_models::matchmaker_epochs::MatchmakerEpochs;
use parthood_models::matchmaker_fast_paxos::MatchmakerFastPaxos;
use parthood_models::matchmaker_multipaxos::MatchmakerMultipaxos;
use parthood_models::matchmaker_paxos::MatchmakerPaxos;
use parthood_models::mencius;
use parthood_models::multipaxos::Multipaxos;
use parthood_models::paxos::Paxos;
use parthood_models::spaxos::Spaxos;
use parthood_models::tile_ledger::TileLedger;
use parthood_models::unanimous_bpaxos;
use parthood_models::unreplicated::Unreplicated;
use parthood_models::vanilla_mencius::VanillaMencius;
use parthood_models::{Protocol as Checked, System};
use serde::de::DeserializeOwned;

/// All protocols, in the order in which a reader should meet them.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "unreplicated",
        title: "one server, no fault tolerance: the baseline",
        paper: "Scaling Replicated State Machines with Compartmentalization, section 10",
        manifest: include_str!("../../manifest/unreplicated.toml"),
        model: |row| model(row, Unreplicated::new),
    },
    Protocol {
        name: "paxos",
        title: "Paxos, one value chosen once",
        paper: "Scaling Replicated State Machines with Compartmentalization, section 2",
        manifest: include_str!("../../manifest/paxos.toml"),
        model: |row| model(row, Paxos::new),
    },
    Protocol {
        name: "multipaxos",
        title: "MultiPaxos, every server proposer, acceptor and replica",
        paper: "Scaling Replicated State Machines with Compartmentalization, section 2",
        manifest: include_str!("../../manifest/multipaxos.toml"),
        model: |row| model(row, Multipaxos::new),
    },
    Protocol {
        name: "compartmentalized",
        title: "MultiPaxos in parts, each of which can be multiplied; reads without the leader",
        paper: "Scaling Replicated State Machines with Compartmentalization, sections 3 to 5",
        manifest: include_str!("../../manifest/compartmentalized.toml"),
        model: |row| model(row, Compartmentalized::new),
    },
    Protocol {
        name: "mencius",
        title: "the same with several leaders at work at once, each numbering slots of its own",
        paper: "Scaling Replicated State Machines with Compartmentalization, first draft, section 4",
        manifest: include_str!("../../manifest/mencius.toml"),
        model: |row| model(row, mencius::new),
    },
    Protocol {
        name: "vanilla_mencius",
        title: "Mencius as first proposed, each server leading slots of its own: the comparison",
        paper: "Scaling Replicated State Machines with Compartmentalization, first draft, section 4.1",
        manifest: include_str!("../../manifest/vanilla_mencius.toml"),
        model: |row| model(row, VanillaMencius::new),
    },
    Protocol {
        name: "spaxos",
        title: "S-Paxos in parts: the log orders names of batches, which travel past the leader",
        paper: "Scaling Replicated State Machines with Compartmentalization, the earlier draft, on S-Paxos",
        manifest: include_str!("../../manifest/spaxos.toml"),
        model: |row| model(row, Spaxos::new),
    },
    Protocol {
        name: "craq",
        title: "CRAQ, a chain with reads at every node: the comparison",
        paper: "Scaling Replicated State Machines with Compartmentalization, section 10",
        manifest: include_str!("../../manifest/craq.toml"),
        model: |row| model(row, Craq::new),
    },
    Protocol {
        name: "matchmaker_paxos",
        title: "Paxos, one value chosen once, with other acceptors in every round",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, single decree",
        manifest: include_str!("../../manifest/matchmaker_paxos.toml"),
        model: |row| model(row, MatchmakerPaxos::new),
    },
    Protocol {
        name: "matchmaker_caspaxos",
        title: "a register without a log, with other acceptors in every round",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, and CASPaxos: Replicated State Machines without logs",
        manifest: include_str!("../../manifest/matchmaker_caspaxos.toml"),
        model: |row| model(row, MatchmakerCaspaxos::new),
    },
    Protocol {
        name: "matchmaker_fast_paxos",
        title: "one value chosen in two message delays by f + 1 acceptors, others in every round",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, on Fast Paxos",
        manifest: include_str!("../../manifest/matchmaker_fast_paxos.toml"),
        model: |row| model(row, MatchmakerFastPaxos::new),
    },
    Protocol {
        name: "matchmaker_epochs",
        title: "the matchmakers alone, and how others take their place",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, section 6",
        manifest: include_str!("../../manifest/matchmaker_epochs.toml"),
        model: |row| model(row, MatchmakerEpochs::new),
    },
    Protocol {
        name: "matchmaker_multipaxos",
        title: "MultiPaxos whose acceptors are exchanged while it runs, without a pause",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, sections 4 to 6",
        manifest: include_str!("../../manifest/matchmaker_multipaxos.toml"),
        model: |row| model(row, MatchmakerMultipaxos::new),
    },
    Protocol {
        name: "horizontal",
        title: "MultiPaxos whose log says which acceptors decide it, a window later: the comparison",
        paper: "Matchmaker Paxos: A Reconfigurable Consensus Protocol, sections 1 and 8",
        manifest: include_str!("../../manifest/horizontal.toml"),
        model: |row| model(row, Horizontal::new),
    },
    Protocol {
        name: "tile_ledger",
        title: "tasks of a reconstruction at workers, each iteration from all of the last",
        paper: "Distributed Reconstruction Algorithm for Electron Tomography with Multiple-scattering Samples",
        manifest: include_str!("../../manifest/tile_ledger.toml"),
        model: |row| model(row, TileLedger::new),
    },
    Protocol {
        name: "bpaxos",
        title: "Simple BPaxos, a replicated graph instead of a log, in modules",
        paper: "Bipartisan Paxos: A Modular State Machine Replication Protocol",
        manifest: include_str!("../../manifest/bpaxos.toml"),
        model: |row| model(row, Bpaxos::new),
    },
    Protocol {
        name: "unanimous_bpaxos",
        title: "the same, chosen in one round trip where all acceptors agree",
        paper: "Bipartisan Paxos: A Modular State Machine Replication Protocol, journal version",
        manifest: include_str!("../../manifest/unanimous_bpaxos.toml"),
        model: |row| model(row, unanimous_bpaxos::new),
    },
    Protocol {
        name: "epaxos",
        title: "Basic EPaxos, every server leading, voting and executing: the comparison",
        paper: "There Is More Consensus in Egalitarian Parliaments, and Bipartisan Paxos",
        manifest: include_str!("../../manifest/epaxos.toml"),
        model: |row| model(row, epaxos::new),
    },
];

/// The model of a row: its parameters and its mutant in the protocol's own types, in the row's world.
fn model<P, M, C>(row: &Row, new: fn(&P, Option<M>) -> Result<C, String>) -> Result<Box<dyn Model>, String>
where
    P: DeserializeOwned,
    M: DeserializeOwned,
    C: Checked,
{
    let params = row.params.clone().try_into().map_err(|error| error.to_string())?;
    let mutant = row.mutant.clone().map(|mutant| toml::Value::String(mutant).try_into());
    let mutant = mutant.transpose().map_err(|error: toml::de::Error| format!("mutant: {error}"))?;
    let protocol = new(&params, mutant)?;
    let names: Vec<String> = (0..protocol.actors().len()).map(|at| protocol.name(at.into())).collect();
    if let Some(wrong) = row.setup.down.iter().find(|down| !names.contains(down)) {
        return Err(format!("`{wrong}` cannot be down: there are {}", names.join(", ")));
    }
    Ok(Box::new(System::new(protocol, row.setup.clone())))
}
