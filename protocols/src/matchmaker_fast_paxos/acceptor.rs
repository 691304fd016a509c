//! The acceptor: promises as in Paxos, and votes for what a proposer names or, if that says "any", for what a client sends.

use super::{Config, Msg, Mutant, Node, Storage};
use crate::faults::Faults;
use crate::matchmaker_paxos::{AcceptorState, Msg as Paxos, Vote};
use crate::matchmaking::Round;
use crate::state_machine::Data;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// An acceptor, as configured.
#[derive(Clone, Debug)]
pub struct FastAcceptor<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// An acceptor's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FastAcceptorState<V> {
    /// What it has promised and voted; saved. (That something is persisted it is never told.)
    pub kept: AcceptorState<V>,
    /// The largest round in which it was told to vote for any value. It may be forgotten: it is then told again.
    pub any: Option<Round>,
    /// The last value that a client has sent since it started, and the client. It may be forgotten: the client sends again.
    pub asked: Option<(Id, V)>,
}

type Say<'a, V, F> = &'a mut Out<Node<V, F>>;

impl<V> FastAcceptorState<V> {
    /// The first state, or the one after a restart.
    pub(super) fn after(kept: AcceptorState<V>) -> Self {
        Self { kept, any: None, asked: None }
    }
}

impl<F: Faults<Mutant>> FastAcceptor<F> {
    /// Where stale rounds are not answered, nothing at all becomes of them.
    pub(super) fn ignores<V: Data>(&self, state: &FastAcceptorState<V>, msg: &Msg<V>) -> bool {
        match msg {
            Msg::Paxos(Paxos::Phase1a { round }) => *round < state.kept.round && !self.config.paxos.nack,
            Msg::Paxos(Paxos::Phase2a { round, .. }) | Msg::Any { round } => {
                self.refuses(state, *round) && !self.config.paxos.nack
            }
            Msg::Paxos(Paxos::Propose(value)) => {
                let known = state.asked.as_ref().is_some_and(|(_, asked)| asked == value);
                known && state.kept.vote.is_none()
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut FastAcceptorState<V>,
        src: Id,
        msg: Msg<V>,
        out: Say<'_, V, F>,
    ) {
        match msg {
            Msg::Paxos(Paxos::Phase1a { round }) => self.on_phase1a(state, src, round, out),
            Msg::Paxos(Paxos::Phase2a { round, value }) => self.on_phase2a(state, src, round, value, out),
            Msg::Any { round } => self.on_any(state, src, round, out),
            Msg::Paxos(Paxos::Propose(value)) => self.on_propose(state, src, value, out),
            _ => {}
        }
    }

    fn on_phase1a<V: Data>(
        &self,
        state: &mut FastAcceptorState<V>,
        proposer: Id,
        round: Round,
        out: Say<'_, V, F>,
    ) {
        let kept = &mut state.kept;
        if round < kept.round {
            out.send(proposer, Msg::Paxos(Paxos::Nack { round: kept.round }));
            return;
        }
        if round > kept.round && !self.config.breaks(Mutant::NoPromise) {
            kept.round = round;
            self.save(kept, out);
        }
        let vote = kept.vote.clone();
        out.send(proposer, Msg::Paxos(Paxos::Phase1b { round, vote, persisted: false }));
    }

    fn on_phase2a<V: Data>(
        &self,
        state: &mut FastAcceptorState<V>,
        proposer: Id,
        round: Round,
        value: V,
        out: Say<'_, V, F>,
    ) {
        if self.refuses(state, round) {
            out.send(proposer, Msg::Paxos(Paxos::Nack { round: state.kept.round }));
        } else if state.kept.vote.as_ref().is_some_and(|vote| vote.vote_round == round) {
            tell(state, Some(proposer), out);
        } else {
            self.vote(state, round, value, out);
        }
    }

    fn on_any<V: Data>(
        &self,
        state: &mut FastAcceptorState<V>,
        proposer: Id,
        round: Round,
        out: Say<'_, V, F>,
    ) {
        if self.refuses(state, round) {
            out.send(proposer, Msg::Paxos(Paxos::Nack { round: state.kept.round }));
        } else if state.kept.vote.as_ref().is_some_and(|vote| vote.vote_round == round) {
            tell(state, Some(proposer), out);
        } else {
            state.any = state.any.max(Some(round));
            self.vote_for_any(state, out);
        }
    }

    /// Votes for the value, or remembers it for the next round in which it may, and says what it has voted for so far.
    fn on_propose<V: Data>(
        &self,
        state: &mut FastAcceptorState<V>,
        client: Id,
        value: V,
        out: Say<'_, V, F>,
    ) {
        state.asked = Some((client, value));
        if !self.vote_for_any(state, out) {
            tell(state, Some(client), out);
        }
    }

    /// Votes for the client's value, if it was told to vote for any, has promised no larger round, and has not voted yet. Says
    /// whether it did.
    fn vote_for_any<V: Data>(&self, state: &mut FastAcceptorState<V>, out: Say<'_, V, F>) -> bool {
        let (Some(any), Some((_, value))) = (state.any, &state.asked) else { return false };
        let for_ever = self.config.breaks(Mutant::AnyForEver);
        let round = if for_ever { any.max(state.kept.round) } else { any };
        let again = |vote: &Vote<V>| self.config.breaks(Mutant::VoteAgain) && vote.vote_value != *value;
        let is_new = state.kept.vote.as_ref().is_none_or(|vote| vote.vote_round < round || again(vote));
        if !is_new || self.refuses(state, round) {
            return false;
        }
        let value = value.clone();
        self.vote(state, round, value, out);
        true
    }

    fn vote<V: Data>(&self, state: &mut FastAcceptorState<V>, round: Round, value: V, out: Say<'_, V, F>) {
        let vote = Some(Vote { vote_round: round, vote_value: value });
        state.kept = AcceptorState { round, vote, persisted: false };
        self.save(&state.kept, out);
        tell(state, self.config.owner(round), out);
        if let Some((client, _)) = state.asked {
            tell(state, Some(client), out);
        }
    }

    fn refuses<V>(&self, state: &FastAcceptorState<V>, round: Round) -> bool {
        round < state.kept.round && !self.config.breaks(Mutant::AcceptLowerRound)
    }

    fn save<V: Data>(&self, kept: &AcceptorState<V>, out: Say<'_, V, F>) {
        if !self.config.breaks(Mutant::AcceptorForgets) {
            out.save(Storage::Acceptor(kept.clone()));
        }
    }
}

/// Says what an acceptor has voted for last.
fn tell<V: Data, F: Faults<Mutant>>(state: &FastAcceptorState<V>, whom: Option<Id>, out: Say<'_, V, F>) {
    if let (Some(whom), Some(Vote { vote_round, vote_value })) = (whom, &state.kept.vote) {
        out.send(whom, Msg::Phase2b { round: *vote_round, value: vote_value.clone() });
    }
}
