//! What deployed protocols do for their clients: some replicate the store, others choose one value.

use super::{
    ClientRole, Cluster, Commands, Decides, Deployable, KeyValueCommand, KeyValueOutput, MsgOf, Replicates,
    VisitStore,
};
use parthood_protocols::client::ClientState;
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::ReaderState;
use parthood_protocols::decree::DecreeClientState;
use parthood_protocols::state_machine::Bytes;

/// What a protocol does for its clients, as simulations need to know it.
pub trait Service<D: Deployable> {
    /// A client of a simulation, by number: what it asks for follows from the seed.
    fn scripted(cluster: &Cluster, seed: u64, number: usize, commands: usize) -> D::Actor;

    /// How many commands such a client has if it may have so many.
    fn commands(most: usize) -> usize;

    /// The output of a command of the store, if the message brings its client one.
    fn output(msg: &MsgOf<D>) -> Option<(CommandId, &KeyValueOutput)>;

    /// Does something with the protocol if it replicates the store.
    fn visit_store<V: VisitStore>(visitor: V) -> Option<V::Output>;
}

/// It replicates the key-value store.
#[derive(Clone, Copy, Debug)]
pub struct Store;

/// It chooses one value for ever.
#[derive(Clone, Copy, Debug)]
pub struct OneValue;

impl<D: Replicates> Service<D> for Store {
    /// A mix of all commands on few keys.
    fn scripted(cluster: &Cluster, seed: u64, number: usize, commands: usize) -> D::Actor {
        let script = crate::simulate::script(seed, number, commands);
        let commands = Commands::Script(script);
        D::client(cluster, ClientRole { commands, reads: D::READS[0], turn: number as u64 })
    }

    fn commands(most: usize) -> usize {
        most
    }

    fn output(msg: &MsgOf<D>) -> Option<(CommandId, &KeyValueOutput)> {
        D::output(msg)
    }

    fn visit_store<V: VisitStore>(visitor: V) -> Option<V::Output> {
        Some(visitor.visit::<D>())
    }
}

impl<D: Decides> Service<D> for OneValue {
    /// Every client proposes a value of its own.
    fn scripted(cluster: &Cluster, seed: u64, number: usize, _: usize) -> D::Actor {
        let value = Bytes::from(&format!("{seed}.{number}"));
        D::client(cluster, Some(value), number % cluster.count("proposer"))
    }

    fn commands(most: usize) -> usize {
        most.min(1)
    }

    fn output(_: &MsgOf<D>) -> Option<(CommandId, &KeyValueOutput)> {
        None
    }

    fn visit_store<V: VisitStore>(_: V) -> Option<V::Output> {
        None
    }
}

/// How far a client of a simulation is.
#[derive(Debug)]
pub struct Simulated<'a> {
    /// How many of its commands were answered.
    pub answered: usize,
    /// The command of the store that it waits for, and its sequence number.
    pub outstanding: Option<(u64, &'a KeyValueCommand)>,
}

/// Of so many invoked, so many were answered. A client that is busy without any still opens its session.
fn answered(invoked: usize, is_idle: bool) -> usize {
    invoked.saturating_sub(usize::from(!is_idle))
}

impl<'a> From<&'a ClientState<KeyValueCommand>> for Simulated<'a> {
    fn from(client: &'a ClientState<KeyValueCommand>) -> Self {
        let answered = answered(client.invoked(), client.is_idle());
        Self { answered, outstanding: client.outstanding(0) }
    }
}

impl<'a> From<&'a ReaderState<KeyValueCommand>> for Simulated<'a> {
    fn from(client: &'a ReaderState<KeyValueCommand>) -> Self {
        let answered = answered(client.asked, client.is_idle());
        Self { answered, outstanding: client.outstanding(0) }
    }
}

impl From<&DecreeClientState<Bytes>> for Simulated<'_> {
    fn from(client: &DecreeClientState<Bytes>) -> Self {
        Self { answered: usize::from(client.chosen.is_some()), outstanding: None }
    }
}
