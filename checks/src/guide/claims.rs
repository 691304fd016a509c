//! What the guide's second chapter claims of the actor, as it stands there.

use parthood::guide::adder::{Flaw, Node, Retry, State};
use parthood::models::{Budget, Property, Protocol, Step, View};
use parthood::stateright::actor::Id;
use std::borrow::Cow;

/// One server and its clients.
#[derive(Clone, Debug)]
pub struct Adding {
    /// The rule that the server breaks, if any.
    pub flaw: Option<Flaw>,
    /// What each client wants added.
    pub clients: Vec<Vec<u64>>,
}

impl Protocol for Adding {
    type Actor = Node;
    /// The states tell enough.
    type Ghost = ();

    fn actors(&self) -> Vec<Node> {
        let clients = self.clients.iter().cloned().map(Node::Client);
        std::iter::once(Node::Server(self.flaw)).chain(clients).collect()
    }

    fn ghost(&self) {}

    fn observe(&self, _: &mut Cow<'_, ()>, _: &Step<'_, Node>) {}

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("exactly once", exactly_once),
            Property::sometimes("all clients are done", all_are_done),
        ]
    }

    /// All clients together may ask again as often as the world's first budget says.
    fn budget(&self, _: Id, _: &Retry) -> Budget {
        Budget::Shared(0)
    }

    /// A client that restarts is another client.
    fn may_restart(&self, id: Id) -> bool {
        id == Id::from(0)
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id) {
            0 => "server".to_owned(),
            client => format!("client {client}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if id == Id::from(0) { "server" } else { "client" }
    }
}

/// What clients have answers to is in the sum, and nothing but that and what they wait for; each addition once.
fn exactly_once(view: &View<'_, Adding>) -> bool {
    let Some(State::Server(server)) = view.states.get(0) else { return false };
    let (mut answered, mut asked) = (0, 0);
    for (state, numbers) in view.states.iter().skip(1).zip(&view.protocol.clients) {
        let State::Client(sums) = state else { return false };
        answered += numbers.iter().take(sums.len()).sum::<u64>();
        asked += numbers.iter().take(sums.len() + 1).sum::<u64>();
    }
    (answered..=asked).contains(&server.sum)
}

fn all_are_done(view: &View<'_, Adding>) -> bool {
    let mut clients = view.states.iter().skip(1).zip(&view.protocol.clients);
    clients.all(|(state, numbers)| matches!(state, State::Client(sums) if sums.len() == numbers.len()))
}
