//! [`parthood_protocols::compartmentalized`], deployed: with one group of leaders or, as [`parthood_protocols::mencius`],
//! with several.

use super::standing::{self, Stands};
use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Simulated, Sizes, StateOf,
    Store, client,
};
use parthood_models as models;
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::{
    Ask, Bounds, Config, Layout, Msg, Node, Part, Reader, Role, Rules, State,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput, StateMachine};
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::ops::Range;
use std::sync::Arc;

/// Any number of nodes of each role; leaders in several groups or in one.
#[derive(Clone, Copy, Debug)]
pub struct InParts<const SEVERAL: bool>;

/// [`parthood_protocols::compartmentalized`].
pub type Compartmentalized = InParts<false>;
/// [`parthood_protocols::mencius`].
pub type Mencius = InParts<true>;

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
        leader_groups: cluster.leader_groups,
        groups: cluster.groups.iter().map(Group::in_turn).collect(),
        // As many as there are leaders in a group: one more than may be lost.
        saves_needed: (layout.leaders / cluster.leader_groups).min(layout.replicas).max(1),
        known_clients: Vec::new(),
        read_scheme: cluster.read_scheme,
        limits: cluster.sizes.limits_in_parts(),
        timing: cluster.times.timing_in_parts(cluster.sizes),
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

/// How a part stands that is this node.
pub(super) fn stands<M: StateMachine, F: Rules>(config: &Config<F>, node: Id, state: &State<M>) -> Standing {
    match state {
        State::Leader(leader) => {
            let (_, index) = config.layout.role(node);
            let leading = leader.leading.as_ref();
            let known = config.leader_of(config.group_of_leader(index), leader.round);
            Standing {
                leads: leading.is_some_and(|leading| leading.recovery.is_none()),
                leader: Some(usize::from(known) as u64),
                round: Some(standing::plain(leader.round)),
                queued: leading.map(|leading| leading.queue.len() as u64),
                ..Standing::default()
            }
        }
        State::Acceptor(node) => standing::of_acceptor(&node.acceptor, standing::plain),
        State::Replica(node) => standing::of_replica(&node.replica),
        _ => Standing::default(),
    }
}

impl<const SEVERAL: bool> Deployable for InParts<SEVERAL> {
    type Actor = Node<KeyValue>;
    type Model = models::compartmentalized::Compartmentalized<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = if SEVERAL { "mencius" } else { "compartmentalized" };
    const ROLES: &'static [&'static str] = &["leader", "proxy_leader", "acceptor", "replica"];
    const OPTIONAL_ROLES: &'static [&'static str] = &["batcher", "unbatcher", "read_batcher"];
    const VOTERS: Option<&'static str> = Some("acceptor");
    const THRIFTY: bool = true;
    const LEADER_GROUPS: usize = if SEVERAL { 2 } else { 1 };
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        let config = config(cluster);
        let (role, index) = config.layout.role(Id::from(index));
        Node::of(role, Part { index, lost_storage: !voting, config })
            .expect("the nodes of a cluster are no clients")
    }

    fn stands(cluster: &Cluster) -> Stands<Self> {
        let config = config(cluster);
        Box::new(move |node, state| stands(&config, node, state))
    }

    fn model(cluster: &Cluster) -> Self::Model {
        let config = config(cluster);
        if SEVERAL {
            models::mencius::deployed(config)
        } else {
            models::compartmentalized::Compartmentalized::deployed(config)
        }
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
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
}

impl<const SEVERAL: bool> Replicates for InParts<SEVERAL> {
    const READS: &'static [Reads] = &[Reads::Linearizable, Reads::Sequential, Reads::Eventual, Reads::Log];

    /// A client that turns to batchers if there are any, else to leaders.
    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        let config = config(cluster);
        let contacts = if config.layout.batchers > 0 { Role::Batcher } else { Role::Leader };
        let first = usize::from(config.layout.id(contacts, 0));
        Node::Client(reader(cluster, &config, first..first + config.layout.count(contacts), role))
    }

    fn shown(msg: &MsgOf<Self>) -> Option<u64> {
        match msg {
            Msg::Reply(reply) => Some(reply.below.0),
            _ => None,
        }
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }

    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        msg.output()
    }
}
