//! The deployed world: a cluster file, the processes that host its nodes, and clients.
//!
//! The runtime knows no protocol and the protocols know no socket; here they meet. A protocol that can be deployed
//! implements [`Deployable`], and [`Replicates`] if it replicates the key-value store or [`Decides`] if it chooses one value;
//! what hosts its nodes and what speaks to them is the same for all. The protocols are listed once, in [`visit`].

mod backup;
mod bpaxos;
mod changes;
mod client;
mod cluster;
mod compartmentalized;
mod craq;
mod horizontal;
mod journal;
mod matchmaker_fast_paxos;
mod matchmaker_multipaxos;
mod matchmaker_paxos;
mod multipaxos;
mod paxos;
mod reconfigure;
mod resp;
mod server;
mod service;
mod spaxos;
mod standing;
mod unreplicated;

pub use backup::{
    Backed, BackupHeader, BackupOptions, RestoreOptions, Restored, backup, check_backup, restore,
};
pub use bpaxos::{Bpaxos, Epaxos, UnanimousBpaxos};
pub use changes::cluster_of_home;
pub use client::{
    Answering, Asynchronous, Batched, ClientError, ClientOptions, KvClient, Lanes, Pending, Polled, Ticket,
};
pub use cluster::{Changed, Cluster, DEFAULT_CLUSTER_FILE, Group, Member, Sizes, Terms, Times};
pub use compartmentalized::{Compartmentalized, Mencius};
pub use craq::Craq;
pub use horizontal::Horizontal;
pub use journal::DurableJournal;
pub use matchmaker_fast_paxos::MatchmakerFastPaxos;
pub use matchmaker_multipaxos::MatchmakerMultiPaxos;
pub(crate) use matchmaker_multipaxos::config as matchmaker_config;
pub use matchmaker_paxos::MatchmakerPaxos;
pub use multipaxos::MultiPaxos;
pub use paxos::{Decides, Paxos, propose};
pub(crate) use reconfigure::operator;
pub use reconfigure::{Reconfigures, acceptors, matchmakers, node_name, reconfigure};
pub use resp::{Gateway, GatewayOptions, Password};
pub use server::{ServeOptions, Serving, serve};
pub use service::{OneValue, Service, Simulated, Store};
pub use spaxos::Spaxos;
pub use standing::{Found, Needed, Stands, Surveyed, look, quorums};
pub use unreplicated::Unreplicated;

use crate::error::Error;
use itertools::Itertools as _;
use parthood_models as models;
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::Consistency;
use parthood_protocols::durable::Durable;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput};
use parthood_runtime::{LOCAL_APPLICATION, Runnable};
use stateright::actor::{Actor, Id};
use std::ops::Range;

/// A protocol that can be deployed.
pub trait Deployable: Sized + 'static {
    /// Its actor.
    type Actor: Runnable<
            Msg: Send,
            Timer: Send,
            Random: Send,
            State: Send + 'static,
            Storage: Durable<Delta: Send> + Send + 'static,
        > + Send
        + 'static;

    /// What is claimed of it.
    type Model: models::Protocol<Actor = Self::Actor>;

    /// What it does for its clients: [`Store`] or [`OneValue`].
    type Service: Service<Self>;

    /// The name it has in every layer.
    const NAME: &'static str;

    /// The roles of its nodes. Nodes are numbered by role in this order, and as in the cluster file within a role.
    const ROLES: &'static [&'static str];

    /// The roles that it can do without; numbered after the others.
    const OPTIONAL_ROLES: &'static [&'static str] = &[];

    /// Roles that must be there and are numbered after those that it can do without.
    const LATER_ROLES: &'static [&'static str] = &[];

    /// Roles whose nodes are numbered as they come in the cluster file, one after the other whatever their role, so that others
    /// can be added at its end.
    const ADDED_ROLES: &'static [&'static str] = &[];

    /// The role of the nodes over which the quorum systems of the cluster file are; none where it names none.
    const VOTERS: Option<&'static str>;

    /// The role of the nodes that keep what was not executed yet, if their quorum systems are in the cluster file too.
    const KEEPERS: Option<&'static str> = None;

    /// Does it contact one quorum where one is enough, as a strategy says?
    const THRIFTY: bool = false;

    /// Is the window of outstanding slots part of what all nodes must agree on?
    const AGREES_ON_WINDOW: bool = false;

    /// In how many groups its leaders share the log where the cluster file says nothing; one where they never do. Leaders and
    /// the nodes that vote are dealt to them in turn.
    const LEADER_GROUPS: usize = 1;

    /// Can a node that has lost what it saved come back?
    const REJOINS: bool;

    /// How many of so many nodes it makes use of.
    fn servers(nodes: usize) -> usize {
        nodes
    }

    /// May nodes that have saved under one cluster file, and agree with the other one in what all must, be started under it?
    ///
    /// # Errors
    /// Why not, and what to do.
    fn may_follow(before: &Cluster, now: &Cluster) -> Result<(), String> {
        let _ = (before, now);
        Ok(())
    }

    /// A node of the cluster. One that is not `voting` has lost what it saved and must not vote.
    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor;

    /// How a node of this cluster stands, as far as its state says.
    fn stands(cluster: &Cluster) -> Stands<Self>;

    /// The quorums that a cluster needs in order to serve, as far as its file says which.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        standing::needed::<Self>(cluster)
    }

    /// The protocol in the configuration of this cluster, to evaluate its properties.
    fn model(cluster: &Cluster) -> Self::Model;

    /// For a client of a simulation: how far it is.
    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>>;

    /// Who else takes part in a simulation, as operators that reconfigure it.
    fn operators(cluster: &Cluster, seed: u64) -> Vec<Self::Actor> {
        let _ = (cluster, seed);
        Vec::new()
    }

    /// For such an operator: has it done all that it wanted?
    fn is_done(state: &StateOf<Self>) -> bool {
        let _ = state;
        true
    }

    /// What is bounded where the cluster file says nothing.
    fn sizes() -> Sizes {
        Sizes::default()
    }

    /// For a node that executes commands: how many slots it has executed, and the store.
    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        let _ = state;
        None
    }

    /// For a node that executes commands, where how many slots it has executed does not tell which: the same number for nodes
    /// that have executed the same.
    fn executed(state: &StateOf<Self>) -> u64 {
        let _ = state;
        0
    }
}

/// A deployable protocol that replicates the key-value store.
pub trait Replicates: Deployable<Actor: Actor<Msg: From<KvClientMsg>>> {
    /// A client.
    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor;

    /// How its clients can read; first how they do if they do not say.
    const READS: &'static [Reads];

    /// What clients and their applications say and are told, if this is such a message.
    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg>;

    /// The output of a command, if the message brings its client one.
    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        Self::client_msg(msg)?.output()
    }

    /// The answer to a client that this is shows the slots below, where the protocol says so.
    fn shown(_: &MsgOf<Self>) -> Option<u64> {
        None
    }
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reads {
    /// Through the log, like any other command.
    Log,
    /// Past the log; shows everything that was finished before it was asked for.
    Linearizable,
    /// Past the log; shows everything that its client was shown before.
    Sequential,
    /// Past the log; shows the state after some prefix of the log.
    Eventual,
}

impl Reads {
    /// What it is called, on the command line and by clients.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Linearizable => "linearizable",
            Self::Sequential => "sequential",
            Self::Eventual => "eventual",
        }
    }

    /// Refuses what is not among what a protocol of this name has.
    fn among(self, known: &[Self], protocol: &str) -> Result<Self, Error> {
        if known.contains(&self) {
            return Ok(self);
        }
        let (known, name) = (known.iter().map(|reads| reads.name()).join(", "), self.name());
        Err(Error::Usage(format!("{protocol} reads as {known}, not as {name}")))
    }

    /// What reads past the log promise.
    pub fn consistency(self) -> Option<Consistency> {
        match self {
            Self::Log => None,
            Self::Linearizable => Some(Consistency::Linearizable),
            Self::Sequential => Some(Consistency::Sequential),
            Self::Eventual => Some(Consistency::Eventual),
        }
    }
}

/// What can be done with any deployable protocol.
pub trait Visit {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<D: Deployable>(self) -> Self::Output;
}

/// What can be done with any protocol that replicates the store.
pub trait VisitStore {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<D: Replicates>(self) -> Self::Output;
}

/// The protocols that can be deployed.
pub const DEPLOYABLE: [&str; 14] = [
    Bpaxos::NAME,
    Compartmentalized::NAME,
    Craq::NAME,
    Epaxos::NAME,
    Horizontal::NAME,
    MatchmakerFastPaxos::NAME,
    MatchmakerMultiPaxos::NAME,
    MatchmakerPaxos::NAME,
    Mencius::NAME,
    MultiPaxos::NAME,
    Paxos::NAME,
    Spaxos::NAME,
    UnanimousBpaxos::NAME,
    Unreplicated::NAME,
];

/// Does something with the protocol of this name.
///
/// # Errors
/// When there is no such protocol.
pub fn visit<V: Visit>(protocol: &str, visitor: V) -> Result<V::Output, Error> {
    match protocol {
        Bpaxos::NAME => Ok(visitor.visit::<Bpaxos>()),
        Compartmentalized::NAME => Ok(visitor.visit::<Compartmentalized>()),
        Craq::NAME => Ok(visitor.visit::<Craq>()),
        Epaxos::NAME => Ok(visitor.visit::<Epaxos>()),
        Horizontal::NAME => Ok(visitor.visit::<Horizontal>()),
        MatchmakerFastPaxos::NAME => Ok(visitor.visit::<MatchmakerFastPaxos>()),
        MatchmakerMultiPaxos::NAME => Ok(visitor.visit::<MatchmakerMultiPaxos>()),
        MatchmakerPaxos::NAME => Ok(visitor.visit::<MatchmakerPaxos>()),
        Mencius::NAME => Ok(visitor.visit::<Mencius>()),
        MultiPaxos::NAME => Ok(visitor.visit::<MultiPaxos>()),
        Paxos::NAME => Ok(visitor.visit::<Paxos>()),
        Spaxos::NAME => Ok(visitor.visit::<Spaxos>()),
        UnanimousBpaxos::NAME => Ok(visitor.visit::<UnanimousBpaxos>()),
        Unreplicated::NAME => Ok(visitor.visit::<Unreplicated>()),
        other => Err(Error::unknown("protocol", other, DEPLOYABLE)),
    }
}

/// Does something with the protocol of this name, which replicates the store.
///
/// # Errors
/// When there is no such protocol, or it replicates no store.
pub fn visit_store<V: VisitStore>(protocol: &str, visitor: V) -> Result<V::Output, Error> {
    visit(protocol, OfStore(visitor))?.ok_or_else(|| {
        Error::Usage(format!(
            "{protocol} chooses one value and replicates no store: ask it with `parthood client propose VALUE`"
        ))
    })
}

/// Visits those that replicate the store.
struct OfStore<V>(V);

impl<V: VisitStore> Visit for OfStore<V> {
    type Output = Option<V::Output>;

    fn visit<D: Deployable>(self) -> Self::Output {
        D::Service::visit_store(self.0)
    }
}

/// What a client of the key-value store says and is told.
pub type KvClientMsg = ClientMsg<KeyValueCommand, KeyValueOutput>;

/// What a client is there for.
#[derive(Clone, Debug)]
pub struct ClientRole {
    /// Where its commands come from.
    pub commands: Commands,
    /// How it reads: one of the ways that the protocol knows.
    pub reads: Reads,
    /// Whom it turns to first, so that clients spread: nodes take turns.
    pub turn: u64,
}

/// Where a client's commands come from.
#[derive(Clone, Debug)]
pub enum Commands {
    /// From the application of its process, on so many lanes.
    Application {
        /// The lanes.
        lanes: u32,
    },
    /// From a script, one after the other.
    Script(Vec<KeyValueCommand>),
}

/// The messages of a deployable protocol.
pub type MsgOf<D> = <<D as Deployable>::Actor as Actor>::Msg;
/// The states of a deployable protocol.
pub type StateOf<D> = <<D as Deployable>::Actor as Actor>::State;

/// A client that may ask any of these nodes.
fn client(nodes: Range<usize>, cluster: &Cluster, role: ClientRole) -> Client<KeyValueCommand> {
    let (lanes, script, application) = match role.commands {
        Commands::Application { lanes } => (lanes, Vec::new(), Some(Id::from(LOCAL_APPLICATION))),
        Commands::Script(script) => (1, script, None),
    };
    Client {
        first_contact: usize::try_from(role.turn % nodes.len().max(1) as u64).unwrap_or_default(),
        contacts: nodes.map(Id::from).collect(),
        script,
        lanes,
        known: false,
        application,
        retries_max: u32::MAX,
        retry_after: cluster.times.retry(),
    }
}
