//! The worked example of the compartmentalization notes, section 8.3: three leader groups with two acceptor groups each.

use super::NoopRange;
use crate::compartmentalized::{
    Bounds, Config, Group, Layout, Limits, Msg, Node, Part, ReadScheme, Role, State, Timing,
};
use crate::faults::Correct;
use crate::ids::{Round, Slot};
use crate::state_machine::Counter;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;

type Actors = Node<Counter>;

fn config() -> Arc<Config> {
    Arc::new(Config {
        layout: Layout {
            leaders: 3,
            proxies: 1,
            acceptors: 6,
            replicas: 1,
            batchers: 0,
            unbatchers: 0,
            read_batchers: 0,
        },
        leader_groups: 3,
        groups: (0..6).map(|acceptor| Group::grid(acceptor, 1, 1)).collect(),
        saves_needed: 1,
        known_clients: vec![],
        read_scheme: ReadScheme::Timed,
        limits: Limits::default(),
        timing: Timing::default(),
        bounds: Bounds::default(),
        faults: Correct,
    })
}

fn start(role: Role, index: usize) -> (Actors, Id, State<Counter>) {
    let config = config();
    let id = config.layout.id(role, index);
    let actor = Node::of(role, Part { index, lost_storage: false, config }).unwrap();
    let state = actor.on_start(id, &None, &mut Out::new());
    (actor, id, state)
}

/// Delivers a message, and returns what is sent.
fn deliver(
    (actor, id, state): &mut (Actors, Id, State<Counter>),
    src: Id,
    msg: Msg<Counter>,
) -> Vec<Msg<Counter>> {
    let mut out = Out::new();
    let mut cow = Cow::Borrowed(&*state);
    actor.on_msg(*id, &mut cow, src, msg, &mut out);
    *state = cow.into_owned();
    let sent = out.into_iter().filter_map(|command| match command {
        Command::Send(_, msg) => Some(msg),
        _ => None,
    });
    sent.collect()
}

fn next_slot(state: &State<Counter>) -> Option<Slot> {
    match state {
        State::Leader(leader) => leader.leading.as_ref().map(|leading| leading.next_slot),
        _ => None,
    }
}

#[test]
fn a_leader_that_is_behind_skips_its_slots_up_to_the_high_watermark() {
    let proxy = config().layout.id(Role::ProxyLeader, 0);
    let replica = config().layout.id(Role::Replica, 0);
    let mut leader = start(Role::Leader, 1);
    deliver(&mut leader, replica, Msg::Fill(Slot(4)));
    assert_eq!(next_slot(&leader.2), Some(Slot(4)));

    let sent = deliver(&mut leader, proxy, Msg::HighWatermark(Slot(12)));
    let range = NoopRange { from: Slot(4), below: Slot(11) };
    assert_eq!(sent, [Msg::Phase2aNoops { round: Round::ZERO, range }]);
    assert_eq!(next_slot(&leader.2), Some(Slot(13)));
    assert_eq!(deliver(&mut leader, proxy, Msg::HighWatermark(Slot(13))), []);
}

#[test]
fn an_acceptor_votes_for_the_slots_of_a_range_that_its_group_decides() {
    let proxy = config().layout.id(Role::ProxyLeader, 0);
    let range = NoopRange { from: Slot(4), below: Slot(11) };
    for (acceptor, slots) in [(1, vec![7]), (4, vec![4, 10])] {
        let mut acceptor = start(Role::Acceptor, acceptor);
        let sent = deliver(&mut acceptor, proxy, Msg::Phase2aNoops { round: Round::ZERO, range });
        assert_eq!(sent, [Msg::Phase2bNoops { round: Round::ZERO, range }]);
        let State::Acceptor(node) = &acceptor.2 else { panic!("an acceptor") };
        assert_eq!(node.acceptor.votes.keys().map(|slot| slot.0).collect::<Vec<_>>(), slots);
        assert_eq!(node.acceptor.vote_watermark.map(|slot| slot.0), slots.last().copied());
    }
}

#[test]
fn a_range_is_chosen_when_every_acceptor_group_has_voted() {
    let layout = config().layout;
    let mut proxy = start(Role::ProxyLeader, 0);
    let (round, range) = (Round::ZERO, NoopRange { from: Slot(4), below: Slot(11) });
    let asked = deliver(&mut proxy, layout.id(Role::Leader, 1), Msg::Phase2aNoops { round, range });
    assert_eq!(asked.len(), 2);
    let voted = Msg::Phase2bNoops { round, range };
    assert_eq!(deliver(&mut proxy, layout.id(Role::Acceptor, 1), voted.clone()), []);
    let chosen = deliver(&mut proxy, layout.id(Role::Acceptor, 4), voted);
    assert_eq!(chosen, [Msg::ChosenNoops(range)]);
}

#[test]
fn a_range_that_no_leader_would_make_is_ignored() {
    let proxy = config().layout.id(Role::ProxyLeader, 0);
    for (from, below) in [(4, 4), (4, 2), (0, u64::MAX)] {
        let mut acceptor = start(Role::Acceptor, 4);
        let range = NoopRange { from: Slot(from), below: Slot(below) };
        assert_eq!(deliver(&mut acceptor, proxy, Msg::Phase2aNoops { round: Round::ZERO, range }), []);
    }
}
