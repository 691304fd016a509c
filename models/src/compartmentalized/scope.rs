//! What the ghost and the properties must know of a protocol that is made of these parts.

use super::Ghost;
use crate::replicas::entries;
use crate::{MsgOf, Protocol, StateOf, View, quorum_params};
use parthood_protocols::command::ValueOf;
use parthood_protocols::compartmentalized::{Ask, Config, Group, Msg, Reader, Rules, State};
use parthood_protocols::ids::Slot;
use parthood_protocols::state_machine::{AppendLog, AppendLogOutput, StateMachine};
use std::sync::Arc;

/// A protocol that is made of these parts, whatever stands around them. What its leaders number need not be what its
/// replicas execute.
pub(crate) trait InParts: Protocol {
    /// What replicas execute.
    type Machine: StateMachine;
    /// A machine whose commands are what leaders number.
    type Order: StateMachine;
    /// Which rules are broken.
    type Rules: Rules;

    /// What is known of runs.
    fn scope(&self) -> &Scope<Self::Machine, Self::Rules>;

    /// The state of a part that numbers: a leader, a proxy leader or an acceptor.
    fn ordering(state: &StateOf<Self>) -> Option<&State<Self::Order>>;

    /// The state of a part that serves clients: a replica, a client or what stands between them.
    fn serving(state: &StateOf<Self>) -> Option<&State<Self::Machine>>;

    /// The message, if it is one of the parts that serve clients.
    fn said(msg: &MsgOf<Self>) -> Option<&Msg<Self::Machine>>;

    /// The history of the parts.
    fn record(ghost: &Self::Ghost) -> &RecordOf<Self>;

    /// Was this chosen, as far as replicas execute it?
    fn is_chosen(view: &View<'_, Self>, slot: Slot, value: &ValueOf<Self::Machine>) -> bool;
}

/// The history of a protocol in parts.
pub(crate) type RecordOf<P> =
    Ghost<<P as InParts>::Machine, <<P as InParts>::Order as StateMachine>::Command>;

/// A configuration, and what is known of runs in it.
#[derive(Clone, Debug)]
pub(crate) struct Scope<M: StateMachine, F> {
    /// What the parts know.
    pub(crate) config: Arc<Config<F>>,
    /// The clients, as far as they are part of the configuration.
    pub(crate) clients: Vec<Reader<M::Command, F>>,
    /// The id of the first client.
    pub(crate) first_client: usize,
    /// Must every client have its answers when nothing more can happen?
    pub(crate) answers: bool,
    /// Does every read quorum of a group meet every write quorum of it, and is every quorum that is contacted one?
    pub(crate) quorums_meet: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    pub(crate) undone_steps: bool,
    /// Does an output show a prefix of what led to this state, as far as one can tell?
    pub(crate) shows_prefix: fn(&M, &M::Output) -> bool,
}

impl<M: StateMachine, F: Rules> Scope<M, F> {
    /// A deployment: any machine, clients that nobody knows beforehand, and saves that take their time.
    pub(crate) fn of_any_machine(config: Arc<Config<F>>) -> Self {
        Self {
            quorums_meet: quorums_meet(&config.groups, config.layout.acceptors),
            first_client: config.layout.nodes(),
            config,
            clients: vec![],
            answers: false,
            undone_steps: true,
            shows_prefix: |_, _| true,
        }
    }

    /// The client with this id, if it is part of the configuration.
    pub(crate) fn client(&self, id: u64) -> Option<&Reader<M::Command, F>> {
        self.clients.get(usize::try_from(id).ok()?.checked_sub(self.first_client)?)
    }

    /// What a client asked under a sequence number.
    pub(crate) fn asked(&self, client: u64, seq: u64) -> Option<&Ask<M::Command>> {
        self.client(client)?.script.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }
}

impl<F: Rules> Scope<AppendLog, F> {
    /// A model: these clients append to a log and read it.
    pub(crate) fn of_the_append_log(
        config: Arc<Config<F>>,
        clients: Vec<Reader<<AppendLog as StateMachine>::Command, F>>,
    ) -> Self {
        let shows_prefix: fn(&AppendLog, &AppendLogOutput) -> bool = |machine, output| matches!(output, AppendLogOutput::Entries(shown) if entries(machine).starts_with(shown));
        Self { clients, undone_steps: false, shows_prefix, ..Self::of_any_machine(config) }
    }
}

/// Does every read quorum of a group meet every write quorum of it, and is every quorum that is contacted one?
pub(crate) fn quorums_meet(groups: &[Group], nodes: usize) -> bool {
    groups.iter().all(|group| {
        let Group { system, reads, writes } = group;
        quorum_params::intersect(&**system, nodes)
            && reads.quorums().iter().all(|set| system.is_read_quorum(*set))
            && writes.quorums().iter().all(|set| system.is_write_quorum(*set))
    })
}
