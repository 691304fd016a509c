//! What all participants know: who there is, the window, limits, times, and which reconfigurations are refused.

use crate::faults::{Correct, Faults};
use crate::ids::Slot;
use crate::matchmaking::Configuration;
use crate::multipaxos::{Bounds, Limits, Timing};
use crate::operator::{Refusal, refusal};
use parthood_quorums::QuorumSystem;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// The roles of participants with a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Server number so and so: proposer and replica.
    Server(usize),
    /// Acceptor number so and so.
    Acceptor(usize),
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of servers, `2f + 1`: indices from 0.
    pub servers: usize,
    /// The number of acceptors, those that no configuration uses yet included: indices after the servers.
    pub acceptors: usize,
    /// The first configuration.
    pub initial: Configuration,
    /// The window: a configuration that is chosen in slot `s` governs from `s + alpha` on, and nothing is proposed for slot `n`
    /// before all slots up to `n - alpha` are chosen. All servers must have the same, for ever: at least 1.
    pub alpha: u64,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// What is bounded, and where. (The window is `alpha`.)
    pub limits: Limits,
    /// How long to wait for what.
    pub timing: Timing,
    /// How many failures of acceptors a configuration must survive: `f`, but in models with fewer acceptors.
    pub acceptor_failures: usize,
    /// How many reconfigurations may be on their way into the log; more are refused.
    pub orders_max: usize,
    /// Whether leaders see to it that old acceptors are not needed any more.
    pub retire: bool,
    /// What a model leaves out.
    pub bounds: Bounds,
    /// Which rules are broken.
    pub faults: F,
}

impl<F> Config<F> {
    /// The role of a participant; none for clients, operators and strangers.
    pub fn role(&self, id: Id) -> Option<Role> {
        match usize::from(id) {
            number if number < self.servers => Some(Role::Server(number)),
            number if number < self.nodes() => Some(Role::Acceptor(number - self.servers)),
            _ => None,
        }
    }

    /// The id of a participant.
    pub fn id(&self, role: Role) -> Id {
        Id::from(match role {
            Role::Server(number) => number,
            Role::Acceptor(number) => self.servers + number,
        })
    }

    /// The number of participants with a fixed place.
    pub fn nodes(&self) -> usize {
        self.servers + self.acceptors
    }

    /// How many failures of servers are survived.
    pub fn f(&self) -> usize {
        self.servers.saturating_sub(1) / 2
    }

    /// The first slot that nothing may be proposed for, if all below `executed` are chosen.
    pub fn horizon(&self, executed: Slot) -> Slot {
        executed.plus(self.alpha)
    }

    /// Why this configuration cannot be used, if it cannot. Whatever acceptors fail, as many as are to be survived, quorums of
    /// both kinds must be left: the rest of the window has to be chosen by these very acceptors.
    pub fn refusal(&self, configuration: &Configuration) -> Option<Refusal> {
        let works = |left| configuration.is_read_quorum(left) && configuration.is_write_quorum(left);
        refusal(configuration, self.acceptors, self.acceptor_failures, works)
    }
}

impl<F: Faults<Mutant>> Config<F> {
    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }
}

/// The rules that a mutant may break. `specs/horizontal` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A leader proposes for one slot beyond the window.
    ProposeBeyondWindow,
    /// A configuration governs from one slot too early on.
    ActivateEarly,
    /// A configuration governs from the next slot on.
    ActivateAtOnce,
    /// A leader uses new acceptors without phase 1.
    SkipNewAcceptors,
    /// A new leader asks the newest configuration that it knows about all slots.
    OnlyNewestConfiguration,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A new leader takes the reported vote with the lowest round.
    LowestVote,
    /// A new leader fills slots with noops although votes were reported.
    NoopOverVotes,
    /// A new leader ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A leader calls a value chosen one vote early.
    WriteQuorumShort,
    /// A leader counts votes of any round.
    CountForeignVotes,
    /// A leader says that slots are stored one replica early.
    PersistTooEarly,
    /// A new leader takes no notice of what acceptors have dropped as stored.
    IgnorePersisted,
    /// A leader does what an operator asked for, whatever that was to follow.
    HeedLateCopies,
    /// A leader says that a configuration is active as soon as it has proposed it.
    ActiveTooEarly,
    /// A leader says that old acceptors are retired as soon as the new ones are active.
    RetiredTooEarly,
    /// A replica executes past a slot that it lacks.
    ExecutePastHole,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// A leader answers a command when it is chosen, with the state before the slots that are not.
    ReplyOnChosen,
    /// A leader proposes a command under another number than its client gave it.
    RenumberCommands,
    /// A leader that has proposed what arrived together takes it for still arriving.
    GatherOnce,
    /// A leader does not answer.
    SilentLeader,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A server does not save which rounds it has used.
    ServerForgets,
}
