//! Mencius with servers of their own slots: the worked examples of the compartmentalization notes, section 8.

use parthood::protocols::client::ClientMsg;
use parthood::protocols::command::{Command, CommandId, Operation, Value};
use parthood::protocols::faults::Correct;
use parthood::protocols::ids::{Round, Slot};
use parthood::protocols::state_machine::{AppendLog, AppendLogCommand};
use parthood::protocols::vanilla_mencius::{Config, Msg, Node, Server, State, Stretch};
use stateright::actor::{Actor, Command as Asked, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

type Actors = Node<AppendLog>;

/// A server of two or more, and what it sends.
struct Told {
    actor: Actors,
    index: usize,
    state: State<AppendLog>,
}

impl Told {
    fn new(index: usize, servers: usize) -> Self {
        let soon = Duration::from_millis(1);
        let config = Arc::new(Config {
            servers,
            known_clients: vec![servers as u64],
            lanes_max: 8,
            revoke_slots: 4,
            round_max: Round(u64::MAX),
            resend: soon,
            flush: soon,
            revoke: soon,
            faults: Correct,
        });
        let actor = Node::Server(Server { index, config });
        let state = actor.on_start(Id::from(index), &None, &mut Out::new());
        Self { actor, index, state }
    }

    fn hears(&mut self, src: usize, msg: Msg<AppendLog>) -> Vec<Msg<AppendLog>> {
        let mut out = Out::new();
        let mut cow = Cow::Borrowed(&self.state);
        self.actor.on_msg(Id::from(self.index), &mut cow, Id::from(src), msg, &mut out);
        self.state = cow.into_owned();
        let sent = out.into_iter().filter_map(|asked| match asked {
            Asked::Send(_, msg) => Some(msg),
            _ => None,
        });
        sent.collect()
    }

    fn next_slot(&self) -> u64 {
        match &self.state {
            State::Server(server) => server.next_slot.0,
            State::Client(_) => unreachable!("it is a server"),
        }
    }
}

fn command(client: u64) -> Command<AppendLogCommand> {
    let id = CommandId { client, session: 0, pseudonym: 0, seq: 1 };
    Command { id, op: Operation::Apply(AppendLogCommand::Append(1)) }
}

fn value() -> Value<AppendLogCommand> {
    Value::Batch([command(2)].into())
}

/// Server B of two, with next slot 3, sees a proposal for slot 10: it skips 3, 5, 7 and 9 and goes on with 11.
#[test]
fn a_server_that_is_overtaken_skips_its_slots_and_says_so_with_its_vote() {
    let mut server = Told::new(1, 2);
    server.hears(0, Msg::Phase2a { round: Round::ZERO, slot: Slot(2), value: value(), skipped: None });
    assert_eq!(server.next_slot(), 3);
    let told =
        server.hears(0, Msg::Phase2a { round: Round::ZERO, slot: Slot(10), value: value(), skipped: None });
    let skipped = Some(Stretch { from: Slot(1), below: Slot(10) });
    assert_eq!(told, [Msg::Phase2b { round: Round::ZERO, slot: Slot(10), skipped }]);
    assert_eq!(server.next_slot(), 11);
}

/// The others learn it with the next proposal.
#[test]
fn a_proposal_tells_what_was_skipped() {
    let mut server = Told::new(1, 2);
    server.hears(0, Msg::Phase2a { round: Round::ZERO, slot: Slot(10), value: value(), skipped: None });
    let told = server.hears(2, Msg::Client(ClientMsg::Request(command(2))));
    let skipped = Some(Stretch { from: Slot(1), below: Slot(10) });
    assert_eq!(told, [Msg::Phase2a { round: Round::ZERO, slot: Slot(11), value: value(), skipped }]);
}

/// A revocation of slots of its own overtakes a server; one of others' slots does not.
#[test]
fn a_server_skips_what_is_revoked_before_it_promises() {
    let mut server = Told::new(1, 3);
    let own = Stretch { from: Slot(1), below: Slot(8) };
    let told = server.hears(2, Msg::Phase1a { round: Round(2), slots: own });
    assert_eq!(server.next_slot(), 10);
    let [Msg::Phase1b { known, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(known.len(), 3, "its own slots 1, 4 and 7 hold noops for good");
    server.hears(2, Msg::Phase1a { round: Round(2), slots: Stretch { from: Slot(0), below: Slot(10) } });
    assert_eq!(server.next_slot(), 10);
}

#[test]
fn nobody_but_the_owner_proposes_in_round_zero() {
    let mut server = Told::new(1, 3);
    let told =
        server.hears(2, Msg::Phase2a { round: Round::ZERO, slot: Slot(0), value: value(), skipped: None });
    assert_eq!(told, []);
    let told =
        server.hears(2, Msg::Phase2a { round: Round(3), slot: Slot(0), value: value(), skipped: None });
    assert_eq!(told, [], "round 3 belongs to server 0");
}
