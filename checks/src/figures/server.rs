//! Several nodes on one server, as in the papers' coupled deployments: what they say to each other is said within a step, so
//! it takes no time and costs nothing.

use super::Costs;
use super::cost::{handled, micros};
use super::draft::DRAFT;
use super::systems::Batching;
use crate::draw::float;
use parthood_runtime::Cause;
use parthood_runtime::sim::Work;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A server and the nodes on it, or a client by itself.
#[derive(Clone, Debug)]
pub(super) struct Server<A> {
    /// Its nodes, each with the id that others know it by.
    pub(super) nodes: Vec<(Id, A)>,
    /// The server of every node; clients come after the nodes, each on a server of its own.
    pub(super) servers: Arc<[usize]>,
}

/// A message between nodes, on its way between servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Carried<M> {
    from: usize,
    to: usize,
    pub(super) msg: M,
}

impl<A: Actor> Server<A> {
    /// Nodes on the servers that are named for them, in the order of their ids, and then clients.
    pub(super) fn deploy(
        nodes: impl IntoIterator<Item = A>,
        clients: impl IntoIterator<Item = A>,
        servers: &Arc<[usize]>,
    ) -> Vec<Self> {
        let with = |nodes| Self { nodes, servers: servers.clone() };
        let count = servers.iter().max().map_or(0, |last| last + 1);
        let mut on: Vec<Self> = (0..count).map(|_| with(vec![])).collect();
        for (id, node) in nodes.into_iter().enumerate() {
            on[servers[id]].nodes.push((Id::from(id), node));
        }
        on.extend((servers.len()..).zip(clients).map(|(id, client)| with(vec![(Id::from(id), client)])));
        on
    }

    /// The server that a node is on.
    fn server_of(&self, node: Id) -> Id {
        let node = usize::from(node);
        let last = self.servers.iter().max().map_or(0, |last| last + 1);
        Id::from(self.servers.get(node).copied().unwrap_or(last + node - self.servers.len().min(node)))
    }

    /// Hands over what a node asks for; what is for a node of this server waits.
    fn post(
        &self,
        id: Id,
        from: Id,
        asked: Out<A>,
        waiting: &mut VecDeque<(Id, Id, A::Msg)>,
        out: &mut Out<Self>,
    ) where
        A: Actor<Msg: Serialize + for<'de> Deserialize<'de>>,
    {
        for command in asked {
            match command {
                Command::Send(to, msg) if self.server_of(to) == id => waiting.push_back((from, to, msg)),
                Command::Send(to, msg) => {
                    let carried = Carried { from: from.into(), to: to.into(), msg };
                    out.send(self.server_of(to), carried);
                }
                Command::SetTimer(timer, after) => out.set_timer((from.into(), timer), after),
                Command::CancelTimer(timer) => out.cancel_timer((from.into(), timer)),
                // Nothing crashes here, and nothing is left to chance.
                Command::Save(_) | Command::ChooseRandom(..) => {}
            }
        }
    }

    /// Delivers what waits for nodes of this server, and what follows from it.
    fn deliver(
        &self,
        id: Id,
        states: &mut [A::State],
        mut waiting: VecDeque<(Id, Id, A::Msg)>,
        out: &mut Out<Self>,
    ) where
        A: Actor<Msg: Serialize + for<'de> Deserialize<'de>>,
    {
        while let Some((from, to, msg)) = waiting.pop_front() {
            let Some(at) = self.nodes.iter().position(|(node, _)| *node == to) else { continue };
            let (mut asked, mut state) = (Out::new(), Cow::Borrowed(&states[at]));
            self.nodes[at].1.on_msg(to, &mut state, from, msg, &mut asked);
            if let Cow::Owned(state) = state {
                states[at] = state;
            }
            self.post(id, to, asked, &mut waiting, out);
        }
    }
}

impl<A> Actor for Server<A>
where
    A: Actor<Msg: Serialize + for<'de> Deserialize<'de>>,
{
    type Msg = Carried<A::Msg>;
    type Timer = (usize, A::Timer);
    type State = Vec<A::State>;
    type Storage = ();
    type Random = ();

    fn on_start(&self, id: Id, _: &Option<()>, out: &mut Out<Self>) -> Vec<A::State> {
        let mut waiting = VecDeque::new();
        let mut states = Vec::new();
        for (node, actor) in &self.nodes {
            let mut asked = Out::new();
            states.push(actor.on_start(*node, &None, &mut asked));
            self.post(id, *node, asked, &mut waiting, out);
        }
        self.deliver(id, &mut states, waiting, out);
        states
    }

    fn on_msg(
        &self,
        id: Id,
        states: &mut Cow<'_, Vec<A::State>>,
        _: Id,
        msg: Carried<A::Msg>,
        out: &mut Out<Self>,
    ) {
        let Carried { from, to, msg } = msg;
        self.deliver(id, states.to_mut(), [(Id::from(from), Id::from(to), msg)].into(), out);
    }

    fn on_timeout(
        &self,
        id: Id,
        states: &mut Cow<'_, Vec<A::State>>,
        (node, timer): &(usize, A::Timer),
        out: &mut Out<Self>,
    ) {
        let Some(at) = self.nodes.iter().position(|(known, _)| usize::from(*known) == *node) else { return };
        let (states, mut waiting, mut asked) = (states.to_mut(), VecDeque::new(), Out::new());
        let (node, actor) = &self.nodes[at];
        let mut state = Cow::Borrowed(&states[at]);
        actor.on_timeout(*node, &mut state, timer, &mut asked);
        if let Cow::Owned(state) = state {
            states[at] = state;
        }
        self.post(id, *node, asked, &mut waiting, out);
        self.deliver(id, states, waiting, out);
    }
}

/// What steps of servers cost that are all alike. If commands come in batches, each server executes every command, which is
/// charged where it comes in: with each of them it is as often.
pub(super) fn work_of_servers<A>(
    servers: usize,
    batching: Batching,
    costs: Costs,
    is_request: fn(&A::Msg) -> bool,
) -> Work<Server<A>>
where
    A: Actor<Msg: Serialize + for<'de> Deserialize<'de> + 'static>,
{
    let execute = if batching.commands > 1 { DRAFT.replica_command * float(servers) } else { 0.0 };
    Box::new(move |step| {
        if usize::from(step.id) >= servers {
            return Duration::ZERO;
        }
        let request = matches!(&step.cause, Cause::Deliver { msg, .. } if is_request(&msg.msg));
        micros(costs.coupled_message * handled(step) + if request { execute } else { 0.0 })
    })
}
