//! [`parthood_protocols::compartmentalized`], deployed.

use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Sizes, StateOf, client,
    scripted,
};
use parthood_models as models;
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::{
    Ask, Bounds, Config, Layout, Msg, Node, Part, Reader, Role, State,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput, StateMachine};
use stateright::actor::Id;
use std::ops::Range;
use std::sync::Arc;

/// [`parthood_protocols::compartmentalized`]: any number of nodes of each role.
#[derive(Clone, Copy, Debug)]
pub struct Compartmentalized;

/// How many nodes there are of each role.
pub(super) fn layout(cluster: &Cluster) -> Layout {
    Layout {
        leaders: cluster.count("leader"),
        proxies: cluster.count("proxy_leader"),
        acceptors: cluster.count("acceptor"),
        replicas: cluster.count("replica"),
        batchers: cluster.count("batcher"),
        unbatchers: cluster.count("unbatcher"),
        read_batchers: cluster.count("read_batcher"),
    }
}

/// What all nodes know, with these faults.
pub(super) fn in_parts<F>(cluster: &Cluster, faults: F) -> Config<F> {
    let layout = layout(cluster);
    Config {
        layout,
        groups: cluster.groups.iter().map(Group::in_turn).collect(),
        // As many as there are leaders: one more than may be lost.
        saves_needed: layout.leaders.min(layout.replicas),
        known_clients: Vec::new(),
        read_scheme: cluster.read_scheme,
        limits: cluster.sizes.limits_in_parts(),
        timing: cluster.times.timing_in_parts(),
        bounds: Bounds::default(),
        faults,
    }
}

fn config(cluster: &Cluster) -> Arc<Config> {
    Arc::new(in_parts(cluster, Correct))
}

/// A client that turns to these nodes.
pub(super) fn reader<F>(
    cluster: &Cluster,
    config: &Arc<Config<F>>,
    contacts: Range<usize>,
    role: ClientRole,
) -> Reader<KeyValueCommand, F> {
    let (read, turn) = (role.reads.consistency(), role.turn);
    let mut writer = client(contacts, cluster, role);
    let script = std::mem::take(&mut writer.script).into_iter();
    let script = script.map(|command| Ask { read: read.filter(|_| KeyValue::is_read(&command)), command });
    Reader { script: script.collect(), writer, read, turn, config: config.clone() }
}

impl Deployable for Compartmentalized {
    type Actor = Node<KeyValue>;
    type Model = models::compartmentalized::Compartmentalized<KeyValue, Correct>;

    const NAME: &'static str = "compartmentalized";
    const ROLES: &'static [&'static str] = &["leader", "proxy_leader", "acceptor", "replica"];
    const OPTIONAL_ROLES: &'static [&'static str] = &["batcher", "unbatcher", "read_batcher"];
    const VOTERS: Option<&'static str> = Some("acceptor");
    const THRIFTY: bool = true;
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        let config = config(cluster);
        let (role, index) = config.layout.role(Id::from(index));
        Node::of(role, Part { index, lost_storage: !voting, config })
            .expect("the nodes of a cluster are no clients")
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::compartmentalized::Compartmentalized::deployed(config(cluster))
    }

    fn scripted(cluster: &Cluster, seed: u64, number: usize, commands: usize) -> Self::Actor {
        Self::client(cluster, scripted::<Self>(seed, number, commands))
    }

    fn answered(state: &StateOf<Self>) -> Option<usize> {
        match state {
            State::Client(client) => Some(client.asked - usize::from(!client.is_idle())),
            _ => None,
        }
    }

    fn sizes() -> Sizes {
        Sizes::in_parts()
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Replica(node) => Some((node.replica.executed.0, &node.replica.machine)),
            _ => None,
        }
    }

    fn outstanding(state: &StateOf<Self>) -> Option<(u64, &KeyValueCommand)> {
        match state {
            State::Client(client) => client.outstanding(0),
            _ => None,
        }
    }

    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        msg.output()
    }
}

impl Replicates for Compartmentalized {
    const READS: &'static [Reads] = &[Reads::Linearizable, Reads::Sequential, Reads::Eventual, Reads::Log];

    /// A client that turns to batchers if there are any, else to leaders.
    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        let config = config(cluster);
        let contacts = if config.layout.batchers > 0 { Role::Batcher } else { Role::Leader };
        let first = usize::from(config.layout.id(contacts, 0));
        Node::Client(reader(cluster, &config, first..first + config.layout.count(contacts), role))
    }

    fn wrap(msg: KvClientMsg) -> MsgOf<Self> {
        Msg::Client(msg)
    }

    fn unwrap(msg: MsgOf<Self>) -> Option<KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}
