//! The consensus of one vertex alone: the deployed proposers and acceptors, whatever they are asked for and whenever.
//!
//! Assumed: its leader proposes one value, perhaps often; replicas ask anybody to recover it, whenever they like. Claimed: all
//! quorums of votes are for one value, which was proposed (I1, I2), and what a proposer takes for chosen is. Messages are never
//! lost, may come late, often and in any order; nodes crash and go on with what they have saved.

use super::modules::{Settled, explore, settled};
use crate::{Kind, Space};
use parthood_protocols::bpaxos::{
    Bounds, Committed, Layout, Msg, Mutant, Node, Part, Proposal, ProposalOf, Role, State, Storage,
};
use parthood_protocols::faults::Mutated;
use parthood_protocols::graph::VertexId;
use parthood_protocols::ids::Round;
use parthood_protocols::state_machine::AppendLog;
use parthood_quorums::NodeSet;
use stateright::actor::{Actor as _, Command, Id, Out};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

type Value = ProposalOf<AppendLog>;
type Actor = Node<AppendLog, Mutated<Mutant>>;

const VERTEX: VertexId = VertexId { leader: 0, id: 0 };

struct Consensus {
    config: Arc<Settled>,
    /// Proposers, the owner of the vertex first, then acceptors.
    nodes: Vec<(Id, Actor)>,
    /// What the leader of the vertex proposes.
    value: Value,
    /// How many crashes there may be.
    crashes: u8,
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct Seen {
    states: Vec<State<AppendLog>>,
    saved: Vec<Option<Storage<AppendLog>>>,
    sent: BTreeSet<(Id, Id, Msg<AppendLog>)>,
    /// Everything that was ever voted for, and by whom.
    votes: BTreeMap<(Round, Value), NodeSet>,
    crashes: u8,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A message that was sent arrives, perhaps again.
    Arrives(usize),
    /// The leader has its proposer propose.
    Propose,
    /// A replica has this proposer recover the vertex.
    Recover(usize),
    /// A node crashes and goes on.
    Crash(usize),
}

impl Consensus {
    fn new(proposers: usize, acceptors: usize, crashes: u8, mutant: Option<Mutant>) -> Self {
        let leaders = proposers;
        let layout =
            Layout { leaders, proposers, dependency_nodes: 1, acceptors, replicas: 1, coupled: false };
        let bounds = Bounds { nack: false, ..Bounds::default() };
        let config = Arc::new(Settled { bounds, ..settled(layout, mutant) });
        let node = |role, index| {
            let part = Part { index, lost_storage: false, config: config.clone() };
            (layout.id(role, index), Node::of(role, part).expect("these are no clients"))
        };
        let proposing = (0..proposers).map(|index| node(Role::Proposer, index));
        let voting = (0..acceptors).map(|index| node(Role::Acceptor, index));
        let value =
            Proposal { deps: [VertexId { leader: 1, id: 0 }].into_iter().collect(), ..Proposal::NOOP };
        let nodes = proposing.chain(voting).collect();
        Self { config, nodes, value, crashes }
    }

    /// Has a node react, and takes up what it does.
    fn react(
        &self,
        next: &mut Seen,
        at: usize,
        reaction: impl FnOnce(&Actor, &mut Cow<'_, State<AppendLog>>, &mut Out<Actor>),
    ) {
        let (id, node) = &self.nodes[at];
        let before = next.states[at].clone();
        let (mut state, mut out) = (Cow::Borrowed(&before), Out::new());
        reaction(node, &mut state, &mut out);
        if let Cow::Owned(state) = state {
            next.states[at] = state;
        }
        for command in out {
            match command {
                Command::Save(storage) => next.saved[at] = Some(storage),
                Command::Send(dst, msg) if self.place(dst).is_some() => {
                    if let (Msg::Phase2b { round, .. }, State::Acceptor(state)) = (&msg, &next.states[at]) {
                        let vote = state.ballots.get(&VERTEX).and_then(|ballot| ballot.vote.as_ref());
                        let cast = vote.map(|vote| (*round, vote.vote_value.clone()));
                        let index = self.config.layout.role(*id).1;
                        cast.map(|cast| next.votes.entry(cast).or_default().insert(index));
                    }
                    next.sent.insert((*id, dst, msg));
                }
                _ => {}
            }
        }
    }

    /// Where a node is in the list.
    fn place(&self, id: Id) -> Option<usize> {
        self.nodes.iter().position(|(other, _)| *other == id)
    }

    fn chosen<'a>(&'a self, state: &'a Seen) -> impl Iterator<Item = &'a Value> {
        let system = &self.config.acceptors.system;
        state.votes.iter().filter(|(_, voters)| system.is_write_quorum(**voters)).map(|((_, value), _)| value)
    }
}

impl Space for Consensus {
    type State = Seen;
    type Move = Event;

    fn initial(&self) -> Seen {
        let mut out = Out::new();
        let states = self.nodes.iter().map(|(id, node)| node.on_start(*id, &None, &mut out)).collect();
        let saved = vec![None; self.nodes.len()];
        Seen { states, saved, sent: BTreeSet::new(), votes: BTreeMap::new(), crashes: 0 }
    }

    fn moves(&self, state: &Seen, moves: &mut Vec<Event>) {
        moves.clear();
        moves.push(Event::Propose);
        moves.extend((0..self.config.layout.proposers).map(Event::Recover));
        moves.extend((0..state.sent.len()).map(Event::Arrives));
        if state.crashes < self.crashes {
            moves.extend((0..self.nodes.len()).map(Event::Crash));
        }
    }

    fn apply(&self, state: &Seen, event: Event, next: &mut Seen) -> bool {
        next.clone_from(state);
        let layout = self.config.layout;
        let mut arrives = |at: usize, src: Id, msg: Msg<AppendLog>| {
            self.react(next, at, |node, state, out| node.on_msg(self.nodes[at].0, state, src, msg, out));
        };
        match event {
            Event::Arrives(number) => {
                let (src, dst, msg) = state.sent.iter().nth(number).expect("it was sent").clone();
                arrives(self.place(dst).expect("it is one of them"), src, msg);
            }
            Event::Propose => {
                let proposal = Committed { vertex: VERTEX, proposal: self.value.clone() };
                arrives(0, layout.id(Role::Leader, 0), Msg::Propose(proposal));
            }
            Event::Recover(proposer) => arrives(proposer, layout.id(Role::Replica, 0), Msg::Recover(VERTEX)),
            Event::Crash(at) => {
                next.crashes += 1;
                let (id, node) = &self.nodes[at];
                next.states[at] = node.on_start(*id, &state.saved[at], &mut Out::new());
            }
        }
        next != state
    }

    fn fingerprint(&self, state: &Seen) -> u64 {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![
            ("one value is chosen", Kind::Always),
            ("it was proposed", Kind::Always),
            ("what is taken for chosen is", Kind::Always),
            ("the leader's value is chosen", Kind::Sometimes),
            ("a noop is chosen", Kind::Sometimes),
        ]
    }

    fn holds(&self, property: usize, state: &Seen) -> bool {
        let mut chosen = self.chosen(state);
        match property {
            0 => chosen.next().is_none_or(|first| chosen.all(|other| other == first)),
            1 => chosen.all(|value| *value == self.value || *value == Proposal::NOOP),
            2 => {
                let chosen: Vec<&Value> = chosen.collect();
                let taken = state.states.iter().filter_map(|state| match state {
                    State::Proposer(proposer) => proposer.chosen.get(&VERTEX),
                    _ => None,
                });
                taken.into_iter().all(|value| chosen.contains(&value))
            }
            3 => chosen.any(|value| *value == self.value),
            _ => chosen.any(|value| *value == Proposal::NOOP),
        }
    }
}

#[test]
fn one_value_is_chosen_for_a_vertex_whoever_recovers_it() {
    let states =
        |proposers, acceptors, crashes| explore(&Consensus::new(proposers, acceptors, crashes, None));
    assert_eq!([states(2, 3, 0), states(3, 2, 0), states(2, 2, 1)], [Ok(21_431), Ok(21_964), Ok(21_614)]);
}

#[test]
fn every_broken_rule_of_the_consensus_is_noticed() {
    let found = |proposers, crashes, mutant| explore(&Consensus::new(proposers, 3, crashes, Some(mutant)));
    let (agreement, taken) = (Err("one value is chosen"), Err("what is taken for chosen is"));
    for (proposers, crashes, mutant, property) in [
        (2, 0, Mutant::OwnValueOverVotes, agreement),
        (2, 0, Mutant::SkipPhase1, agreement),
        (2, 0, Mutant::ReadQuorumShort, agreement),
        (2, 0, Mutant::AcceptLowerRound, agreement),
        (2, 0, Mutant::WriteQuorumShort, taken),
        (2, 0, Mutant::PromiseMovesVote, taken),
        (2, 1, Mutant::ForgetVotes, agreement),
        (2, 1, Mutant::ReuseRounds, taken),
    ] {
        assert_eq!(found(proposers, crashes, mutant), property, "{mutant:?}");
    }
}
