//! Unanimous `BPaxos`: [`crate::bpaxos`] with dependency nodes that vote for their own answers, so that a command that meets
//! no conflict is chosen in one round trip.
//!
//! (Journal version of "Bipartisan Paxos", section 5.) Each acceptor is a dependency node, too. A leader, who proposes, asks
//! all `n = 2f + 1` of them at once; each votes in round zero for the command after what it knows. If all votes are equal,
//! that is chosen. If they are not, the leader proposes their union in round one, which is its own, without a phase 1: votes
//! of round zero are final, so they are as good as promises. If somebody is late it does so with those of a quorum.
//!
//! **Recovery** hears of a read quorum. If *all of it* have voted in round zero, and alike, that value may be chosen, and it
//! is what a quorum of the dependency service has answered: consensus may force it without harm to the dependency
//! invariant. (Fast `BPaxos`, which makes do with fewer votes, cannot have both.) Somebody who has promised and not voted
//! proves that not all votes are equal. The reference code compares the votes it finds and takes no notice of who has not
//! voted; two recoveries then choose conflicting commands that do not know of each other (`specs/unanimous_bpaxos`, R2).
//!
//! This is no other actor than [`crate::bpaxos`], with [`crate::bpaxos::Fast`] as the way in which vertices are chosen; this
//! module is what its fast path is. One acceptor that is down closes the fast path for all: leaders then wait for it until
//! their timers tell them not to.

mod mutant;

pub use mutant::Mutant;

use crate::bpaxos::{Answers, Config, FastRule, Outcome, Promises, Proposal, Rules};
use crate::ids::Round;

/// Have all acceptors voted alike?
pub(crate) fn outcome<F: Rules>(config: &Config<F>, answers: &Answers) -> Outcome {
    let short = usize::from(config.breaks_fast(FastRule::FastQuorumShort));
    let mut votes = answers.values();
    match votes.next() {
        Some(first) if answers.len() + short >= config.layout.acceptors => {
            if votes.all(|deps| deps == first) { Outcome::Fast(first.clone()) } else { Outcome::Slow }
        }
        _ => Outcome::Open,
    }
}

/// What all of a read quorum have voted for in round zero.
pub(crate) fn forced<'a, C: PartialEq, F: Rules>(
    config: &Config<F>,
    promises: &'a Promises<C>,
) -> Option<&'a Proposal<C>> {
    let voters_only = config.breaks_fast(FastRule::VotersOnly);
    let mut votes = promises.values().filter(|vote| vote.is_some() || !voters_only);
    let zero = |vote: &'a Option<crate::bpaxos::Vote<C>>| {
        vote.as_ref().filter(|vote| vote.vote_round == Round::ZERO).map(|vote| &vote.vote_value)
    };
    let first = votes.next().and_then(zero)?;
    votes.all(|vote| zero(vote) == Some(first)).then_some(first)
}
