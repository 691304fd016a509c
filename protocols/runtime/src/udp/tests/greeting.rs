//! Clients let all nodes know where they are.

use super::{CLUSTER, free, key, turn_until};
use crate::LOCAL_APPLICATION;
use crate::udp::peers::bits_of;
use crate::udp::{AddressBook, ClientProcess, Driver};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A node that passes questions on, one that answers them, and a client that asks the first.
#[derive(Clone, Debug)]
enum Relay {
    Front,
    Back,
    Client,
}

impl Actor for Relay {
    type Msg = u64;
    type Timer = ();
    type State = Option<Id>;
    type Storage = ();
    type Random = ();

    fn on_start(&self, _: Id, _: &Option<()>, out: &mut Out<Self>) -> Option<Id> {
        if matches!(self, Self::Client) {
            ask(out);
        }
        None
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, Option<Id>>, src: Id, client: u64, out: &mut Out<Self>) {
        match self {
            Self::Front => out.send(Id::from(1), bits_of(src)),
            Self::Back => out.send(Id::from(usize::try_from(client).unwrap()), 0),
            Self::Client if src == Id::from(LOCAL_APPLICATION) => {
                *state = Cow::Owned(None);
                ask(out);
            }
            Self::Client => *state = Cow::Owned(Some(src)),
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, Option<Id>>, (): &(), out: &mut Out<Self>) {
        if state.is_none() {
            ask(out);
        }
    }
}

fn ask(out: &mut Out<Relay>) {
    out.send(Id::from(0), 0);
    out.set_timer((), Duration::from_millis(20)..Duration::from_millis(30));
}

#[test]
fn a_node_can_answer_a_client_that_never_turned_to_it() {
    let book: AddressBook = free::<2>(Ipv4Addr::LOCALHOST).into_iter().collect();
    let start = |id, relay| Driver::<Relay>::builder(CLUSTER, key(), book.clone()).host(id, relay).build();
    let mut front = start(Id::from(0), Relay::Front).unwrap();
    let mut back = start(Id::from(1), Relay::Back).unwrap();
    let id = ClientProcess::random().unwrap().id(0);
    let mut client = start(id, Relay::Client).unwrap();
    turn_until([&mut client, &mut front, &mut back], |[client, ..]| client.state(id).unwrap().is_some());
    assert_eq!(client.state(id), Some(&Some(Id::from(1))));

    // One that has forgotten where clients are, as after a restart, hears of them again.
    drop(back);
    let mut back = start(Id::from(1), Relay::Back).unwrap();
    assert!(client.inject(id, 0));
    client.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(client.state(id), Some(&None));
    turn_until([&mut client, &mut front, &mut back], |[client, ..]| client.state(id).unwrap().is_some());
}
