//! Compartmentalized Mencius: [`crate::compartmentalized`] with several leaders at work at once.
//!
//! (The compartmentalization paper's first draft, section 4; why one value at most is chosen per slot: [`crate::paxos`].) The
//! one part that cannot be multiplied otherwise is the leader. Here the log is dealt to *leader groups* in turn: of `L`
//! groups, number `g` numbers the slots `g`, `g + L`, `g + 2L` and so on. Each group has leaders of its own, of which one is
//! active, rounds of its own, and acceptors of its own, in one or more acceptor groups. In its slots it is `MultiPaxos`, and
//! so this is no other actor: the roles are those of [`crate::compartmentalized`], whose configuration says how many leader
//! groups there are, and this module is what several of them need besides.
//!
//! Replicas execute the whole log, so a group that is behind delays everybody. Therefore
//!
//! - **high watermarks**: a leader that has proposed commands tells the leaders of other groups, through a proxy leader, how
//!   far it is;
//! - **noop ranges**: a leader that is behind skips its slots up to there. It proposes noops for all of them in one message,
//!   which costs each acceptor, proxy leader and replica about as much as one command. They are proposals like any others:
//!   nobody may take them for chosen because the owner of the slots said so, since after a leader change that owner is
//!   somebody else. (The original Mencius does that, with servers of which each has slots of its own for ever:
//!   [`crate::vanilla_mencius`].)
//!
//! A command is answered when all slots before its own are executed, never when it is merely chosen: a command that is asked
//! for later might still get a lower slot from a leader that is behind.
//!
//! **Reads** ask one acceptor group as before. What finished before may have been decided by any group of any leaders, so the
//! index is shifted by the number of all acceptor groups but one; votes for noop ranges raise the watermark like others.
//!
//! **Where this departs from the draft**, which says nothing about the slots of a leader that is dead: each leader group
//! elects another one. A slot that a replica lacks is asked for at the group that numbers it; that group remembers what was
//! asked for until it has a leader, since the evidence that the slot is needed (votes for later ones) lies with acceptors
//! that its phase 1 does not reach.

mod leader;
mod mutant;
mod noop_range;

pub use mutant::Mutant;
pub use noop_range::NoopRange;

#[cfg(test)]
mod tests;
