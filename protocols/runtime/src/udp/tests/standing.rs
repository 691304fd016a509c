//! Nodes say how they stand: to those who may ask, and to nobody else.

use super::{CLUSTER, COUNTER, client, counter, counters_after, frame, free, key, turn_until};
use crate::storage::WholeValue;
use crate::toy::{Flaw, Msg, State, Toy};
use crate::udp::standing::{Control, DRIVER};
use crate::udp::{
    AddressBook, Answers, Builder, ClientProcess, Driver, Faults, Inquirer, MAX_INQUIRY_LEN, Standing,
    Survey, survey,
};
use crate::wire::{FrameWriter, Key, Keys, MAX_DATAGRAM_LEN, Refusal};
use stateright::actor::Id;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

fn standing(_: Id, state: &State) -> Standing {
    match state {
        State::Counter(counts) => Standing { executed: Some(counts.total), ..Standing::default() },
        State::Client { .. } => Standing::default(),
    }
}

/// Asks from another thread, while these turn.
fn surveyed<const N: usize>(
    drivers: [&mut Driver<Toy>; N],
    book: &AddressBook,
    expected: &[u64],
    patience: Duration,
    key: Key,
) -> Survey {
    let (book, expected) = (book.clone(), expected.iter().copied().collect::<BTreeSet<u64>>());
    let asking =
        std::thread::spawn(move || survey(CLUSTER, &Keys::from(key), &book, &expected, patience).unwrap());
    turn_until(drivers, |_| asking.is_finished());
    asking.join().unwrap()
}

#[test]
fn who_asks_is_told_how_each_node_stands_and_who_is_silent_is_missing() {
    let [a, b] = free(Ipv4Addr::LOCALHOST);
    let book = AddressBook::from_iter([a, b, a]);
    let mut counter = Driver::<Toy>::builder(CLUSTER, key(), book.clone())
        .host(Id::from(0), Toy::Counter(Flaw::None))
        .host(Id::from(2), Toy::Counter(Flaw::None))
        .standing(standing)
        .build()
        .unwrap();
    let (mut adding, id) = client(book.clone(), 7);
    turn_until([&mut adding, &mut counter], |[adding, _]| adding.state(id).unwrap().done() == 7);
    let survey = surveyed([&mut counter], &book, &[0, 1, 2], Duration::from_millis(300), key());
    let executed: Vec<_> =
        survey.answers.iter().map(|(node, (standing, _))| (*node, standing.executed)).collect();
    assert_eq!(executed, [(0, Some(7)), (2, Some(0))], "{survey:?}");
    let questions = counter.counters().questions;
    assert!(questions >= 1);
    // Those that are expected have answered: the survey is over at once.
    let survey = surveyed([&mut counter], &book, &[0, 2], Duration::from_secs(20), key());
    assert_eq!(survey.answers.len(), 2);
    assert!(counter.counters().questions > questions && survey.refused.is_empty());
}

#[test]
fn a_question_with_another_key_has_no_answer_and_is_counted() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let book = AddressBook::from_iter([address]);
    let mut counter = counter(address).standing(standing).build().unwrap();
    let survey = surveyed([&mut counter], &book, &[0], Duration::from_millis(250), Key::new([8; 32]));
    assert!(survey.answers.is_empty());
    let counters = counter.counters();
    assert!(counters.refused(Refusal::Forged) >= 1, "{counters:?}");
    assert_eq!((counters.questions, counters.datagrams_out), (0, 0));
}

/// Asks one node from another thread, while a driver turns.
fn inquired(
    driver: &mut Driver<Toy>,
    book: &AddressBook,
    node: usize,
    question: &[u8],
    key: Key,
) -> Option<Vec<u8>> {
    let (book, question) = (book.clone(), question.to_vec());
    let asking = std::thread::spawn(move || {
        let mut inquirer = Inquirer::new(CLUSTER, &Keys::from(key), &book).unwrap();
        inquirer.ask(Id::from(node), &question, Duration::from_millis(400)).unwrap()
    });
    turn_until([driver], |_| asking.is_finished());
    asking.join().unwrap()
}

#[test]
fn an_application_answers_by_the_state_of_the_node_that_is_asked_and_only_with_the_key() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let book = AddressBook::from_iter([address, address]);
    let reply = |id: Id, state: &State, question: &[u8]| {
        let State::Counter(counts) = state else { return None };
        let total = u8::try_from(counts.total).unwrap();
        (question != b"silence")
            .then(|| [&[u8::try_from(usize::from(id)).unwrap(), total], question].concat())
    };
    let mut counter = Driver::<Toy>::builder(CLUSTER, key(), book.clone())
        .host(Id::from(0), Toy::Counter(Flaw::None))
        .host(Id::from(1), Toy::Counter(Flaw::None))
        .inquiries(reply)
        .build()
        .unwrap();
    let (mut adding, id) = client(book.clone(), 3);
    turn_until([&mut adding, &mut counter], |[adding, _]| adding.state(id).unwrap().done() == 3);
    let mut ask = |node, question: &[u8], key| inquired(&mut counter, &book, node, question, key);
    assert_eq!(ask(0, b"?", key()).as_deref(), Some(&[0, 3, b'?'][..]));
    assert_eq!(ask(1, b"!", key()).as_deref(), Some(&[1, 0, b'!'][..]));
    assert_eq!(ask(0, b"silence", key()), None);
    assert_eq!(ask(0, b"?", Key::new([8; 32])), None);
    let long = vec![7; 40_000];
    assert_eq!(ask(0, &long, key()).map(|answer| answer.len()), Some(40_002));
    let mut inquirer = Inquirer::new(CLUSTER, &Keys::from(key()), &book).unwrap();
    let mut refusal =
        |node, bytes: &[u8]| inquirer.ask(Id::from(node), bytes, Duration::ZERO).unwrap_err().to_string();
    assert!(refusal(0, &vec![0; MAX_INQUIRY_LEN + 1]).contains("too long"));
    assert!(refusal(2, b"").contains("not in the address book"));
}

#[test]
fn an_application_that_nobody_asks_may_let_go_of_what_it_keeps() {
    struct Looks(Sender<Instant>);
    impl Answers<Toy> for Looks {
        fn answer(&mut self, _: Id, _: &State, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn look(&mut self, now: Instant) {
            // The test has seen enough when it does not listen.
            let _ = self.0.send(now);
        }
    }
    let [address] = free(Ipv4Addr::LOCALHOST);
    let (sender, looks) = mpsc::channel();
    let mut counter = counter(address).inquiries(Looks(sender)).build().unwrap();
    let mut seen = Vec::new();
    // No question comes.
    turn_until([&mut counter], |_| {
        seen.extend(looks.try_iter());
        seen.len() >= 3
    });
}

/// A frame that holds something for the event loop.
fn for_the_driver(src: Id, control: &Control) -> Vec<u8> {
    let mut frame = FrameWriter::default();
    frame.begin(CLUSTER, src);
    frame.push(src, Id::from(DRIVER), control, MAX_DATAGRAM_LEN).unwrap();
    frame.seal(&key().seal(), 1);
    frame.bytes().to_vec()
}

#[test]
fn an_answer_that_nobody_asked_for_and_a_changed_question_are_refused_and_counted() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).standing(standing).build().unwrap();
    let me = ClientProcess::random().unwrap().id(0);
    let told = Control::Told { number: 0, standing: Standing::default() };
    let mut changed = for_the_driver(me, &Control::Ask { number: 5 });
    changed[30] ^= 1;
    let datagrams = [
        for_the_driver(me, &told),
        changed,
        frame(CLUSTER, &key(), me, me, Id::from(DRIVER), &Msg::Added(300)),
    ];
    let counters = counters_after(&mut counter, &datagrams);
    let refused = [Refusal::Stale, Refusal::Forged, Refusal::Malformed].map(|why| counters.refused(why));
    assert_eq!((refused, counters.questions, counters.steps), ([1, 1, 1], 0, 0), "{counters:?}");
}

#[test]
fn questions_of_one_turn_are_bounded_and_one_asker_counts_once() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).standing(standing).build().unwrap();
    let same = ClientProcess::random().unwrap().id(0);
    let others = (0..100).map(|_| ClientProcess::random().unwrap().id(0));
    let askers = std::iter::repeat_n(same, 50).chain(others);
    let datagrams: Vec<_> = askers.map(|src| for_the_driver(src, &Control::Ask { number: 1 })).collect();
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for datagram in &datagrams {
        socket.send_to(datagram, address).unwrap();
    }
    counter.turn(Some(Duration::from_secs(1))).unwrap();
    let questions = counter.counters().questions;
    assert!((1..=16).contains(&questions), "{questions}");
}

fn watching(index: usize, addresses: [SocketAddr; 2]) -> Builder<Toy, WholeValue> {
    Driver::<Toy>::builder(CLUSTER, key(), AddressBook::from_iter(addresses))
        .host(Id::from(index), Toy::Counter(Flaw::None))
        .standing(standing)
}

#[test]
fn a_process_that_watches_hears_from_the_others_until_they_are_cut_off() {
    let addresses = free(Ipv4Addr::LOCALHOST);
    let mut watcher = watching(0, addresses).watch(Duration::from_millis(20)).build().unwrap();
    let mut other = watching(1, addresses).build().unwrap();
    let heard = |driver: &Driver<Toy>| driver.handle().view().told.get(&1).map(|told| told.at);
    turn_until([&mut watcher, &mut other], |[watcher, _]| heard(watcher).is_some());
    assert_eq!(watcher.handle().view().told[&1].standing.executed, Some(0));
    assert!(watcher.handle().view().standings.contains_key(&(COUNTER as u64)));
    let cut = Faults { cut: BTreeSet::from([Id::from(1)]), ..Faults::default() };
    watcher.handle().set_faults(cut);
    watcher.turn(Some(Duration::ZERO)).unwrap();
    let since = Instant::now();
    turn_until([&mut watcher, &mut other], |_| since.elapsed() > Duration::from_millis(200));
    let last = heard(&watcher).unwrap();
    assert!(last <= since + Duration::from_millis(100), "silence is noticed");
    watcher.handle().set_faults(Faults::default());
    turn_until([&mut watcher, &mut other], |[watcher, _]| heard(watcher).unwrap() > last);
}

#[test]
fn what_a_driver_shows_moves_with_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).standing(standing).data(dir.path()).build().unwrap();
    let (mut adding, id) = client(AddressBook::from_iter([address]), 20);
    turn_until([&mut adding, &mut counter], |[adding, _]| adding.state(id).unwrap().done() == 20);
    let counters = counter.counters();
    let kinds: Vec<_> =
        counters.kinds.iter().map(|kind| (kind.name, kind.received > 0, kind.sent > 0)).collect();
    assert_eq!(kinds, [("Add", true, false), ("Added", false, true)]);
    assert_eq!(counters.log.sync_times.count(), counters.log.syncs);
    assert!(counters.log.log_len > 0 && counters.turn_times.count() > 0);
    assert!(counters.turn_times.sum() >= counters.log.sync_times.sum(), "a turn waits for the disk");
}
