//! The operator, shared by the protocols whose acceptors can be exchanged: asks for reconfigurations, and is told how far
//! they are.
//!
//! It asks one server after the other until the leader answers, and goes on asking, which is harmless, until the
//! reconfiguration is done or refused. What it asks for comes from a script (models, simulations) or from the application
//! of its process (deployments).
//!
//! A copy of what it said may arrive late, when others have been asked for since, and must not undo that. So it asks for
//! nodes that are to follow *those of a number*: whoever does not know the number is told, and a request after a number that is over
//! is not heeded. Each request makes one reconfiguration at most.
//!
//! An operator that is told the number next to the one it named asks again, after that one. Whoever has what it asks for in force
//! says so, so that number is not its own, and there is none between: nothing was done of what it asked for, and a late copy of it
//! will not be heeded. (A new leader that ends what another one had begun may have counted up without changing anything.) Where
//! more than one number has come between, its own may be among them: it is told so and leaves it at that.

use crate::matchmaking::Configuration;
use itertools::Itertools;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::ops::Range;
use std::time::Duration;

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wanted {
    /// That these acceptors vote.
    Acceptors(Configuration),
    /// That these matchmakers serve.
    Matchmakers(NodeSet),
}

/// How far a reconfiguration is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// Another server probably leads.
    Elsewhere(u64),
    /// Nothing is done about it: it must say that it is to follow this number.
    Behind(u64),
    /// It waits, or is being done.
    Waiting,
    /// New commands go to the new acceptors, or the new matchmakers serve; the old ones are still needed. This is
    /// configuration, or epoch, number so and so.
    Active(u64),
    /// It will not be done.
    Refused(Refusal),
    /// Those before are not needed any more.
    Retired(u64),
    /// It was active, and somebody asked for another one since: number so and so.
    Superseded(u64),
}

/// Why a reconfiguration is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It names an acceptor that the leader does not know.
    #[error(
        "there is no acceptor number {0}: add it to the cluster file of all servers first, and restart them"
    )]
    UnknownAcceptor(usize),
    /// Its quorums are none.
    #[error("{0}")]
    Unsound(String),
    /// After so many failures nobody could say what was chosen.
    #[error("it does not survive {0} failures, as it must: name more acceptors")]
    TooFragile(usize),
    /// It names a matchmaker that the leader does not know.
    #[error(
        "there is no matchmaker number {0}: add it to the cluster file of all servers first, and restart them"
    )]
    UnknownMatchmaker(usize),
    /// More or fewer matchmakers survive more or fewer failures.
    #[error("{0} matchmakers must serve, as many as before: name so many")]
    NotAsMany(usize),
    /// A wanted matchmaker does not answer.
    #[error(
        "matchmaker number {0} did not answer, and another one serves in its place: start it and ask again, or name another"
    )]
    Silent(usize),
    /// As many as may wait are waiting.
    #[error("a reconfiguration is under way and {0} more are waiting: ask again when one of them is active")]
    UnderWay(usize),
    /// A wanted acceptor does not answer.
    #[error(
        "acceptor number {0} does not answer, and nothing was changed: start it and ask again, or name another"
    )]
    SilentAcceptor(usize),
    /// What its quorums take in messages exceeds what there is room for.
    #[error(
        "{0} quorums do not fit the messages of matchmakers: name majorities, or acceptors that must all write"
    )]
    TooLarge(usize),
}

/// What an operator says and is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OperatorMsg {
    /// Application to operator, and operator to server: use these; or, if they were asked for before: how far is it?
    Reconfigure {
        /// What is asked for.
        wanted: Wanted,
        /// The number of those that they are to follow, if the operator knows one.
        after: Option<u64>,
        /// Under which number it has become active, if the operator was told so. It may have been replaced since.
        active: Option<u64>,
    },
    /// Server to operator, and operator to application: so far is the reconfiguration.
    Progress {
        /// What was asked for.
        wanted: Wanted,
        /// What became of it.
        progress: Progress,
    },
}

/// The numbers of the present nodes, as far as somebody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// Of the acceptors.
    pub acceptors: Option<u64>,
    /// Of the matchmakers.
    pub matchmakers: Option<u64>,
}

impl Numbers {
    /// Those of the first nodes.
    pub const FIRST: Self = Self { acceptors: Some(0), matchmakers: Some(0) };

    fn of(&mut self, wanted: &Wanted) -> &mut Option<u64> {
        match wanted {
            Wanted::Acceptors(_) => &mut self.acceptors,
            Wanted::Matchmakers(_) => &mut self.matchmakers,
        }
    }
}

/// The timer after which an operator asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AskTimer;

/// How many times sooner an operator asks the next contact while nobody has answered.
const SOONER: u32 = 8;

/// An actor whose messages and timers include those of operators.
pub(crate) trait Speaks: Actor<Msg: From<OperatorMsg>, Timer: From<AskTimer>> {}
impl<A: Actor<Msg: From<OperatorMsg>, Timer: From<AskTimer>>> Speaks for A {}

/// An operator, as configured.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The servers it may ask, in the order in which it tries them.
    pub contacts: Vec<Id>,
    /// Which of the contacts it asks first.
    pub first_contact: usize,
    /// What it asks for, one after the other.
    pub script: Vec<Wanted>,
    /// What it knows at first.
    pub knows: Numbers,
    /// Whether it waits until the old acceptors are retired before it asks for the next, or only until the new ones are active.
    pub until_retired: bool,
    /// Who is told how far it is.
    pub application: Option<Id>,
    /// How often it may ask again in all.
    pub retries_max: u32,
    /// How long it waits before it asks again whoever has answered.
    pub ask_after: Range<Duration>,
}

/// Why this configuration of so many acceptors cannot be used, if it cannot: whatever acceptors fail, as many as are to be
/// survived, enough must be `left`.
pub(crate) fn refusal(
    configuration: &Configuration,
    known: usize,
    failures: usize,
    left: impl Fn(NodeSet) -> bool,
) -> Option<Refusal> {
    if let Err(error) = configuration.check() {
        return Some(Refusal::Unsound(error.to_string()));
    }
    let acceptors = configuration.acceptors();
    if let Some(unknown) = acceptors.iter().find(|acceptor| *acceptor >= known) {
        return Some(Refusal::UnknownAcceptor(unknown));
    }
    let survives = |lost: Vec<usize>| left(acceptors.difference(lost.into_iter().collect()));
    let is_robust = match configuration {
        // One set of lost acceptors is like the other: trying all of a large set would take too long.
        Configuration::Majority(_) | Configuration::UnanimousWrites(_) => {
            failures < acceptors.len() && survives(acceptors.iter().take(failures).collect())
        }
        Configuration::Explicit { .. } => {
            failures < acceptors.len() && acceptors.iter().combinations(failures).all(survives)
        }
    };
    (!is_robust).then_some(Refusal::TooFragile(failures))
}

/// What is said of a request that is to follow `after`, where the newest number is another one. A leader that has not
/// heard of the one that it is to follow will.
pub(crate) fn out_of_turn(after: Option<u64>, newest: u64) -> Option<Progress> {
    match after {
        Some(after) if after == newest => None,
        Some(after) if after > newest => Some(Progress::Waiting),
        _ => Some(Progress::Behind(newest)),
    }
}

/// An operator's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperatorState {
    /// Which of the contacts is asked next.
    pub contact: usize,
    /// What it wants at present.
    pub wanted: Option<Wanted>,
    /// The present numbers, as far as it was told.
    pub knows: Numbers,
    /// Under which number it has become active, as far as it was told.
    pub active: Option<u64>,
    /// What it was told of that, after what it was told before.
    pub progress: Option<Progress>,
    /// How much of its script is done or refused.
    pub done: usize,
    /// How often it asked again.
    pub retries: u32,
}

impl Operator {
    pub(crate) fn start<A: Speaks>(&self, out: &mut Out<A>) -> OperatorState {
        let contact = self.first_contact;
        let knows = self.knows;
        let mut state =
            OperatorState { contact, wanted: None, knows, active: None, progress: None, done: 0, retries: 0 };
        self.want(&mut state, self.script.first().cloned(), out);
        state
    }

    fn want<A: Speaks>(&self, state: &mut OperatorState, wanted: Option<Wanted>, out: &mut Out<A>) {
        (state.wanted, state.active, state.progress) = (wanted, None, None);
        self.ask(state, out);
    }

    /// Asks. While nobody has answered it asks the next contact sooner: the last one may be down.
    fn ask<A: Speaks>(&self, state: &OperatorState, out: &mut Out<A>) {
        if let Some(wanted) = &state.wanted {
            let (after, active) = (*state.knows.clone().of(wanted), state.active);
            let msg = OperatorMsg::Reconfigure { wanted: wanted.clone(), after, active };
            out.send(self.contacts[state.contact], msg.into());
            let sooner = if state.progress.is_none() { SOONER } else { 1 };
            self.set_timer(state, sooner, out);
        }
    }

    /// Sets the timer after which it asks again, so many times sooner.
    fn set_timer<A: Speaks>(&self, state: &OperatorState, sooner: u32, out: &mut Out<A>) {
        let Range { start, end } = self.ask_after.clone();
        if state.retries < self.retries_max {
            out.set_timer(AskTimer.into(), start / sooner..end / sooner);
        }
    }

    pub(crate) fn ignores(&self, state: &OperatorState, src: Id, msg: &OperatorMsg) -> bool {
        match msg {
            OperatorMsg::Reconfigure { .. } => self.application != Some(src),
            OperatorMsg::Progress { wanted, progress } => {
                // An answer that was under way when a later one was sent says less than is known.
                state.wanted.as_ref() != Some(wanted) || Some(progress) <= state.progress.as_ref()
            }
        }
    }

    pub(crate) fn on_msg<A: Speaks>(
        &self,
        state: &mut OperatorState,
        src: Id,
        msg: OperatorMsg,
        out: &mut Out<A>,
    ) {
        match msg {
            OperatorMsg::Reconfigure { wanted, .. } => self.want(state, Some(wanted), out),
            OperatorMsg::Progress { progress: Progress::Elsewhere(leader), .. } => {
                let leader = self.contacts.iter().position(|contact| usize::from(*contact) as u64 == leader);
                if let Some(leader) = leader.filter(|leader| self.contacts[*leader] != src) {
                    state.contact = leader;
                    state.progress = Some(Progress::Elsewhere(u64::MAX));
                    self.ask(state, out);
                }
            }
            OperatorMsg::Progress { wanted, progress: Progress::Behind(number) } => {
                let named = state.knows.of(&wanted).replace(number);
                if named.is_some_and(|named| named.checked_add(1) != Some(number)) {
                    self.hear(state, wanted, Progress::Superseded(number), out);
                } else {
                    state.progress = Some(Progress::Behind(number));
                    self.ask(state, out);
                }
            }
            OperatorMsg::Progress { wanted, progress } => self.hear(state, wanted, progress, out),
        }
    }

    fn hear<A: Speaks>(
        &self,
        state: &mut OperatorState,
        wanted: Wanted,
        progress: Progress,
        out: &mut Out<A>,
    ) {
        let number = match progress {
            Progress::Active(number) => {
                state.active = Some(number);
                Some(number)
            }
            Progress::Retired(number) | Progress::Superseded(number) => Some(number),
            Progress::Elsewhere(_) | Progress::Behind(_) | Progress::Waiting | Progress::Refused(_) => None,
        };
        if number.is_some() {
            *state.knows.of(&wanted) = number;
        }
        if let Some(application) = self.application {
            let told = OperatorMsg::Progress { wanted, progress: progress.clone() };
            out.send(application, told.into());
        }
        let is_done = match &progress {
            Progress::Refused(_) | Progress::Retired(_) | Progress::Superseded(_) => true,
            Progress::Active(_) => !self.until_retired,
            Progress::Elsewhere(_) | Progress::Behind(_) | Progress::Waiting => false,
        };
        let is_first = state.progress.replace(progress).is_none();
        if is_first && !is_done {
            self.set_timer(state, 1, out);
        }
        if is_done {
            state.done += 1;
            if state.retries < self.retries_max {
                out.cancel_timer(AskTimer.into());
            }
            self.want(state, self.script.get(state.done).cloned(), out);
        }
    }

    /// Asks again: the next contact, if the last one has not answered.
    pub(crate) fn on_timeout<A: Speaks>(&self, state: &mut OperatorState, out: &mut Out<A>) {
        if state.wanted.is_none() || state.retries >= self.retries_max {
            return;
        }
        if self.retries_max < u32::MAX {
            state.retries += 1;
        }
        state.contact = (state.contact + 1) % self.contacts.len();
        state.progress = None;
        self.ask(state, out);
    }
}
