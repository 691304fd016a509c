//! What is claimed of [`parthood_protocols::matchmaker_caspaxos`], and the configurations in which it is checked.
//!
//! In the checker the machine is an append log: one state is an ancestor of another if it is a prefix of it. Matchmakers
//! and acceptors are those of [`crate::matchmaker_paxos`], which judges them; here it is what a register promises.
//!
//! # Reductions
//! *Symmetry*: matchmakers; acceptors that no configuration tells apart. *Collection*: what its receiver has outgrown, as in
//! [`crate::matchmaker_paxos`]. *Eager*: confirming that something is retired.

mod properties;

use crate::client_params::{self, ClientParams};
use crate::defaults::three;
use crate::history::History;
use crate::matchmaker_paxos::{ConfigurationParams, alike};
use crate::sequential::OneObject;
use crate::{Budget, Cause, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::matchmaker_caspaxos::{
    CasPhase, CasProposer, CasState, Config, Msg, Mutant, Node, Register, Shared, State, Timer,
};
use parthood_protocols::matchmaker_paxos::{
    Acceptor, Config as PaxosConfig, Garbage, Matchmaker, Msg as Paxos, Node as Server, Role, Scenarios,
    State as ServerState,
};
use parthood_protocols::matchmaking::{Age, Configuration, Round, read_everywhere};
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, AppendLogOutput};
use parthood_quorums::{NodeSet, QuorumSystem};
use serde::Deserialize;
use stateright::actor::{Command, Id};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Params {
    /// For each proposer the configurations of its rounds: it has no more rounds than that.
    pub proposers: Vec<Vec<ConfigurationParams>>,
    /// The number of matchmakers, `2f + 1`.
    #[serde(default = "three")]
    pub matchmakers: usize,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// When proposers collect.
    #[serde(default)]
    pub collect: Scenarios,
    /// Whether a proposer goes on from its own proposal without phase 1.
    #[serde(default)]
    pub own_bypass: bool,
    /// Whether matchmakers and acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether proposers send again, and go on to a higher round when overtaken.
    #[serde(default)]
    pub resend: bool,
    /// Whether every client must have its answers in the end: not so where rounds or retries may run out first.
    #[serde(default)]
    pub answers: bool,
}

/// The state that is voted for, in models.
pub type Value = Register<AppendLog>;

/// Matchmaker `CASPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct MatchmakerCaspaxos<F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    proposers: Vec<CasProposer<F>>,
    clients: Vec<Client<AppendLogCommand>>,
    /// Acceptors that no configuration tells apart.
    alike: Vec<Vec<usize>>,
    answers: bool,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// What clients asked and were told.
    clients: History<AppendLogCommand, AppendLogOutput>,
    /// What was ever proposed in each round.
    proposed: BTreeSet<(Round, Value)>,
    /// Who ever voted for what.
    cast: BTreeMap<(Round, Value), NodeSet>,
    /// Was a proposal ever taken along to the next round?
    carried: bool,
    /// Did somebody begin to collect without being allowed to?
    unjustified: bool,
}

impl MatchmakerCaspaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let mut configurations = vec![];
        for own in &params.proposers {
            let own: Result<Vec<_>, _> = own.iter().map(ConfigurationParams::configuration).collect();
            configurations.push(own?);
        }
        if configurations.iter().any(Vec::is_empty) {
            return Err("each proposer needs at least one configuration".into());
        }
        if params.matchmakers.is_multiple_of(2) || params.collect.persisted {
            return Err("2f + 1 matchmakers are needed, and there is no scenario 3".into());
        }
        let all: Vec<&Configuration> = configurations.iter().flatten().collect();
        let acceptors = all.iter().flat_map(|one| one.acceptors().iter()).max().map_or(0, |last| last + 1);
        let paxos = Arc::new(PaxosConfig {
            proposers: params.proposers.len(),
            matchmakers: params.matchmakers,
            acceptors,
            replicas: 0,
            scenarios: params.collect,
            bypass: false,
            own_bypass: params.own_bypass,
            ask_everyone: false,
            log_max: 64,
            nack: params.nack,
            resend: params.resend,
            patience: u32::MAX,
            resend_after: Duration::ZERO..Duration::ZERO,
            faults: Shared(Mutated(mutant)),
        });
        let config = Arc::new(Config {
            known_clients: client_params::known(&params.clients, paxos.servers()),
            lanes_max: 64,
            faults: Mutated(mutant),
            paxos,
        });
        let alike = alike(&all, acceptors);
        let proposers = configurations.into_iter().enumerate().map(|(index, configurations)| CasProposer {
            index,
            rounds_max: configurations.len() as u64,
            configurations,
            config: config.clone(),
        });
        Ok(Self {
            proposers: proposers.collect(),
            clients: client_params::clients(&params.clients, config.paxos.proposers)?,
            alike,
            answers: params.answers,
            config,
        })
    }
}

impl<F: Faults<Mutant>> MatchmakerCaspaxos<F> {
    /// The configuration of a round; none if no proposer owns it.
    fn configuration(&self, round: Round) -> Option<&Configuration> {
        let owner = self.proposers.get(usize::try_from(round.proposer).ok()?)?;
        Some(owner.configuration(round))
    }

    /// I8: does this step allow that what is below a round is retired, or does it only say so again? A state is chosen in the round
    /// (Scenario 1), or nothing was or will be chosen below (Scenario 2): nobody was there to ask, or nobody has voted.
    fn may_collect(&self, ghost: &Ghost, step: &Step<'_, Node<AppendLog, F>>, round: Round) -> bool {
        let Some(State::Proposer(before)) = step.before else { return false };
        let Cause::Deliver { src, msg: Msg::Paxos(msg) } = &step.cause else {
            return matches!(before.garbage, Garbage::Asked(_));
        };
        match (msg, &before.phase, self.config.paxos.role(*src)) {
            (Paxos::MatchB { watermark, earlier, .. }, phase, Some(Role::Matchmaker(number))) => {
                let CasPhase::Matching { answers, carried: None } = phase else { return false };
                let mut answers = answers.clone();
                answers.add(number, *watermark, Age::default(), earlier.clone());
                2 * answers.replied.len() > self.config.paxos.matchmakers && answers.returned().is_empty()
            }
            (
                Paxos::Phase1b { vote: None, .. },
                CasPhase::Phase1 { earlier, promised, best: None },
                Some(Role::Acceptor(number)),
            ) => read_everywhere(earlier.iter().map(|(_, asked)| asked), promised.with(number)),
            (Paxos::Phase2b { .. }, ..) => ghost.cast.iter().any(|((of, _), voters)| {
                let configuration = self.configuration(round).filter(|_| *of == round);
                configuration.is_some_and(|configuration| configuration.is_write_quorum(*voters))
            }),
            _ => false,
        }
    }

    fn beyond(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.paxos.servers())
    }

    fn dead_to_server(&self, state: &ServerState<Value>, msg: &Paxos<Value>) -> bool {
        let too_late = match (state, msg) {
            (ServerState::Acceptor(acceptor), Paxos::Phase1a { round } | Paxos::Phase2a { round, .. }) => {
                *round < acceptor.round
            }
            (ServerState::Matchmaker(matchmaker), Paxos::MatchA { round, .. }) => {
                matchmaker.log.get_max().is_some_and(|(largest, _)| largest > round)
                    || *round < matchmaker.watermark
            }
            _ => false,
        };
        too_late && !self.config.paxos.nack
    }

    fn split_set(&self, what: &str, set: NodeSet, role: fn(usize) -> Role, parts: &mut Parts<'_>) {
        for number in set.iter() {
            parts.about(self.config.paxos.id(role(number)), what);
        }
    }
}

impl<F: Faults<Mutant>> Protocol for MatchmakerCaspaxos<F> {
    type Actor = Node<AppendLog, F>;
    type Ghost = Ghost;

    fn actors(&self) -> Vec<Self::Actor> {
        let PaxosConfig { matchmakers, acceptors, .. } = *self.config.paxos;
        let config = || self.config.paxos.clone();
        let proposers = self.proposers.iter().cloned().map(Node::Proposer);
        let matchmakers = (0..matchmakers).map(|_| Server::Matchmaker(Matchmaker { config: config() }));
        let acceptors = (0..acceptors).map(|_| Server::Acceptor(Acceptor { config: config() }));
        let servers = matchmakers.chain(acceptors).map(Node::Server);
        proposers.chain(servers).chain(self.clients.iter().cloned().map(Node::Client)).collect()
    }

    fn ghost(&self) -> Ghost {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost>, step: &Step<'_, Self::Actor>) {
        match (step.before, step.after) {
            (_, State::Server(ServerState::Acceptor(acceptor))) => {
                let Some(Role::Acceptor(number)) = self.config.paxos.role(step.id) else { return };
                let Some(vote) = &acceptor.vote else { return };
                let key = (vote.vote_round, vote.vote_value.clone());
                if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(number)) {
                    ghost.to_mut().cast.entry(key).or_default().insert(number);
                }
            }
            (Some(before @ State::Client(_)), after) if before != after => {
                if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause {
                    ghost.to_mut().clients.returned(&OneObject::<AppendLog>::default(), msg);
                }
            }
            (Some(State::Proposer(before)), State::Proposer(after)) => {
                let carries = matches!(&before.phase, CasPhase::Matching { carried: Some(_), .. });
                if carries && matches!(after.phase, CasPhase::Phase2 { .. }) && !ghost.carried {
                    ghost.to_mut().carried = true;
                }
            }
            _ => {}
        }
        for command in step.out {
            match command {
                Command::Send(_, Msg::Client(msg)) if matches!(step.after, State::Client(_)) => {
                    ghost.to_mut().clients.sent_by_client(msg);
                }
                Command::Send(_, Msg::Client(msg)) => ghost.to_mut().clients.sent_by_server(msg),
                Command::Send(_, Msg::Paxos(Paxos::Phase2a { round, value })) => {
                    let proposal = (*round, value.clone());
                    if !ghost.proposed.contains(&proposal) {
                        ghost.to_mut().proposed.insert(proposal);
                    }
                }
                Command::Send(_, Msg::Paxos(Paxos::GarbageA { round }))
                    if !ghost.unjustified && !self.may_collect(ghost, step, *round) =>
                {
                    ghost.to_mut().unjustified = true;
                }
                _ => {}
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    fn dead(&self, dst: Id, state: &State<AppendLog>, src: Id, msg: &Msg<AppendLog>) -> bool {
        match (state, msg) {
            (State::Proposer(proposer), msg) => dead_to_proposer(proposer, msg),
            (State::Server(server), Msg::Paxos(msg)) => self.dead_to_server(server, msg),
            (State::Client(client), Msg::Client(msg)) => {
                let role = self.beyond(dst).and_then(|number| self.clients.get(number));
                matches!(msg, ClientMsg::Reply { .. })
                    && role.is_some_and(|role| role.ignores(client, src, msg))
            }
            _ => false,
        }
    }

    fn eager(&self, _: Id, _: Id, msg: &Msg<AppendLog>) -> bool {
        matches!(msg, Msg::Paxos(Paxos::GarbageB { .. }))
    }

    fn may_restart(&self, id: Id) -> bool {
        self.config.paxos.role(id).is_some()
    }

    /// Timers of one kind share a budget, in this order: resend, retry.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Retry(_) => Budget::Shared(1),
        }
    }

    fn classes(&self) -> Vec<Class> {
        let id = |role: Role| vec![self.config.paxos.id(role)];
        let alike = |numbers: &Vec<usize>| numbers.iter().map(|number| id(Role::Acceptor(*number))).collect();
        let mut classes: Vec<Class> = self.alike.iter().map(alike).collect();
        classes.push((0..self.config.paxos.matchmakers).map(|number| id(Role::Matchmaker(number))).collect());
        classes
    }

    fn split_state(&self, _: Id, state: &Hashed<State<AppendLog>>, parts: &mut Parts<'_>) {
        let State::Proposer(proposer) = &**state else { return parts.own(state) };
        let CasState { used, heard, waiting, last, attempts, phase, garbage } = &**proposer;
        parts.rest(&(used, heard, waiting, last, attempts));
        match phase {
            CasPhase::Idle => parts.rest("idle"),
            CasPhase::Matching { answers, carried } => {
                parts.rest(&("matching", answers.watermark, &answers.earlier, carried));
                self.split_set("replied", answers.replied, Role::Matchmaker, parts);
            }
            CasPhase::Phase1 { earlier, promised, best } => {
                parts.rest(&("phase 1", earlier, best));
                self.split_set("promised", *promised, Role::Acceptor, parts);
            }
            CasPhase::Phase2 { command, voted } => {
                parts.rest(&("phase 2", command));
                self.split_set("voted", *voted, Role::Acceptor, parts);
            }
        }
        if let Garbage::Asked(confirmed) = garbage {
            parts.rest("asked");
            self.split_set("confirmed", *confirmed, Role::Matchmaker, parts);
        } else {
            parts.rest(garbage);
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost>, parts: &mut Parts<'_>) {
        parts.rest(&(&ghost.clients, &ghost.proposed, ghost.carried, ghost.unjustified));
        for (vote, voters) in &ghost.cast {
            for number in voters.iter() {
                parts.about(self.config.paxos.id(Role::Acceptor(number)), vote);
            }
        }
    }

    fn name(&self, id: Id) -> String {
        match (self.config.paxos.role(id), self.beyond(id)) {
            (Some(Role::Proposer(number)), _) => format!("proposer {number}"),
            (Some(Role::Matchmaker(number)), _) => format!("matchmaker {number}"),
            (Some(Role::Acceptor(number) | Role::Replica(number)), _) => format!("acceptor {number}"),
            (None, number) => format!("client {}", number.unwrap_or_default()),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match self.config.paxos.role(id) {
            Some(Role::Proposer(_)) => "proposer",
            Some(Role::Matchmaker(_)) => "matchmaker",
            Some(Role::Acceptor(_) | Role::Replica(_)) => "acceptor",
            None => "client",
        }
    }
}

/// Is the message dead to a proposer? After a restart it still knows which rounds it has used.
fn dead_to_proposer(state: &CasState<AppendLog>, msg: &Msg<AppendLog>) -> bool {
    let (Some(used), Msg::Paxos(msg)) = (state.used, msg) else { return false };
    let passed = |round: &Round, phase_over: bool| *round < used || *round == used && phase_over;
    let matching = matches!(state.phase, CasPhase::Matching { .. });
    let phase1 = matches!(state.phase, CasPhase::Phase1 { .. });
    let phase2 = matches!(state.phase, CasPhase::Phase2 { .. });
    match msg {
        Paxos::MatchB { round, .. } => passed(round, !matching),
        Paxos::Phase1b { round, .. } => passed(round, !(matching || phase1)),
        Paxos::Phase2b { round, .. } => passed(round, !(matching || phase1 || phase2)),
        Paxos::GarbageB { watermark } => passed(watermark, state.garbage == Garbage::Done),
        Paxos::Nack { round } => *round <= used,
        _ => false,
    }
}
