//! Basic `EPaxos`: every server leads, votes and executes, and a command that meets no conflict is chosen in one round trip.
//!
//! (Moraru, Andersen, Kaminsky: "There Is More Consensus in Egalitarian Parliaments", SOSP 2013, without its optimized
//! recovery; the baseline of the `BPaxos` paper, whose notes on it this follows.) It is no other actor than
//! [`crate::bpaxos`]: the same leaders, dependency nodes, acceptors, proposers and replicas, one of each on every server, with
//! [`crate::bpaxos::Fast`] as the way in which vertices are chosen. An *instance* is a vertex, a *ballot* a pair of rounds, an
//! `Accept` a phase 2a, a `Prepare` a phase 1a. This module is what its fast path is.
//!
//! With `n = 2f + 1` servers:
//!
//! 1. A server that is asked numbers the command, has its own acceptor pre-accept it, and asks `2f - 1` others, always the
//!    same ones for one vertex, to pre-accept it after what its own named *and* what they see themselves.
//! 2. If these `2f - 1` agree, the server's own acceptor records the value (it accepts it in round 1), and it is chosen. If
//!    not, or if one of them is late, the union of at least `f + 1` is accepted by `f + 1` in round 1: the slow path.
//! 3. **Recovery** by another server hears of `f + 1` acceptors. If the leader's own is among them and has recorded nothing, it
//!    never will: nothing was chosen in round zero. If it is not, what `f` of them have pre-accepted alike in round zero may
//!    be chosen, and is proposed.
//!
//! **Why it is safe.** *Dependencies*: whatever is proposed names all that `f + 1` acceptors know: the union of as many, or, by
//! the fast path or a recovery, what `f` others agreed on and the leader's own said before, since each of them added that.
//! *Consensus*: round one belongs to the leader, who proposes one value in it. Suppose it was recorded after `2f - 1` equal
//! votes. A recovery without the leader's acceptor hears of `f + 1` others, of which one at most was not asked: `f` report that
//! value. And they report no other `f` times: with `f > 1` two such groups would share a member, and with `f = 1` only one
//! other server was asked at all, then or later. That is why nobody else may be asked in round zero, not even when that one
//! is silent: then the leader takes a higher ballot. (`specs/epaxos`, R5.)
//!
//! **Departures.** There are no sequence numbers: they only order a component, which vertices do as well, and replies are sent
//! after execution. The leader commits when its acceptor has recorded, not when it has counted: so a restarted leader knows
//! of it. Whoever recovers asks for nothing that was pre-accepted in a ballot above the first to be taken as it is: it has the
//! command pre-accepted once more. Snapshots, collection, catch-up and sessions are those of [`crate::bpaxos`].

mod mutant;

pub use mutant::Mutant;

use crate::bpaxos::{Answers, Config, FastRule, Outcome, Promises, Proposal, Rules};
use crate::graph::VertexId;
use crate::ids::Round;
use parthood_quorums::NodeSet;
use std::collections::BTreeMap;

/// How many others a quorum has besides the leader's own acceptor: `f`.
const fn rest_of_quorum(servers: usize) -> usize {
    servers / 2
}

/// How many other acceptors are asked in round zero, and must agree: `2f - 1`. Enough to leave no recovery without the
/// leader's acceptor in doubt, and to make up a quorum, however many servers there are.
pub(crate) fn others(servers: usize) -> usize {
    servers.saturating_sub(2).max(rest_of_quorum(servers))
}

/// The leader's own acceptor, and, when it has answered, the next ones round the ring from a place that the number tells.
pub(crate) fn asked<F: Rules>(config: &Config<F>, vertex: VertexId, answers: &Answers) -> NodeSet {
    let (servers, leader) = (config.layout.acceptors, vertex.leader as usize);
    let mut asked = NodeSet::single(leader);
    if answers.is_empty() || servers < 2 {
        return asked;
    }
    let ring = servers - 1;
    let first = usize::try_from(vertex.id % ring as u64).unwrap_or(0);
    let count = if config.breaks_fast(FastRule::AskEveryone) { ring } else { others(servers) };
    for place in 0..count {
        asked.insert((leader + 1 + (first + place) % ring) % servers);
    }
    asked
}

/// Do the others that were asked agree?
pub(crate) fn outcome<F: Rules>(config: &Config<F>, vertex: VertexId, answers: &Answers) -> Outcome {
    let leader = vertex.leader as usize;
    let mut needed = others(config.layout.acceptors);
    if config.breaks_fast(FastRule::FastQuorumShort) {
        needed = needed.saturating_sub(1);
    }
    let Some(own) = answers.get(&leader) else { return Outcome::Open };
    let mut named = answers.iter().filter(|(acceptor, _)| **acceptor != leader).map(|(_, deps)| deps);
    if answers.len() <= needed {
        return Outcome::Open;
    }
    let first = named.next().unwrap_or(own);
    if named.all(|deps| deps == first) { Outcome::Fast(first.clone()) } else { Outcome::Slow }
}

/// Without the leader's own acceptor: what `f` others have pre-accepted alike.
pub(crate) fn forced<'a, C: Ord, F: Rules>(
    config: &Config<F>,
    vertex: VertexId,
    promises: &'a Promises<C>,
) -> Option<&'a Proposal<C>> {
    let like_others = config.breaks_fast(FastRule::LeaderLikeOthers);
    if promises.contains_key(&(vertex.leader as usize)) && !like_others {
        return None;
    }
    let mut equal: BTreeMap<&Proposal<C>, usize> = BTreeMap::new();
    for vote in promises.values().flatten().filter(|vote| vote.vote_round == Round::ZERO) {
        *equal.entry(&vote.vote_value).or_default() += 1;
    }
    let needed = rest_of_quorum(config.layout.acceptors).max(1);
    equal.into_iter().find(|(_, votes)| *votes >= needed).map(|(value, _)| value)
}
