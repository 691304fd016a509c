//! Drivers over real sockets on loopback.

use super::*;
use crate::storage::{Journal, Limits, WholeValue};
use crate::toy::{Counts, Flaw, Msg, Toy};
use crate::wire::{Frame, FrameWriter, Key, MAX_DATAGRAM_LEN, MAX_MESSAGE_LEN, Refusal};
use crate::{Error, LOCAL_APPLICATION, Notice, Observer, Step, Wants};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

mod greeting;
mod standing;

const CLUSTER: u64 = 42;
const COUNTER: usize = 0;

fn key() -> Key {
    Key::new([9; 32])
}

/// Addresses that nobody uses at the moment.
fn free<const N: usize>(ip: impl Into<std::net::IpAddr>) -> [SocketAddr; N] {
    let ip = ip.into();
    let sockets = [(); N].map(|()| UdpSocket::bind((ip, 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

fn counter(address: SocketAddr) -> Builder<Toy, WholeValue> {
    Driver::<Toy>::builder(CLUSTER, key(), AddressBook::from_iter([address]))
        .host(Id::from(COUNTER), Toy::Counter(Flaw::None))
}

/// A process with one client that wants `goal` additions.
fn client(book: AddressBook, goal: u64) -> (Driver<Toy>, Id) {
    let id = ClientProcess::random().unwrap().id(0);
    let toy = Toy::Client { counter: Id::from(COUNTER), goal };
    (Driver::builder(CLUSTER, key(), book).host(id, toy).build().unwrap(), id)
}

fn client_of(counter: &Driver<Toy>, goal: u64) -> (Driver<Toy>, Id) {
    client(AddressBook::from_iter([counter.local_address()]), goal)
}

/// Turns the drivers one after the other until `done` says so.
fn turn_until<A, J, const N: usize>(
    mut drivers: [&mut Driver<A, J>; N],
    mut done: impl FnMut(&mut [&mut Driver<A, J>; N]) -> bool,
) where
    A: crate::Runnable<State: 'static, Storage: Send + 'static>,
    J: Journal<A::Storage>,
{
    let start = Instant::now();
    while !done(&mut drivers) {
        for driver in &mut drivers {
            driver.turn(Some(Duration::from_millis(1))).unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing comes of it");
    }
}

fn total(driver: &Driver<Toy>) -> u64 {
    driver.state(Id::from(COUNTER)).unwrap().counts().total
}

fn count_over(address: SocketAddr) {
    let mut counter = counter(address).build().unwrap();
    let (mut client, id) = client_of(&counter, 50);
    turn_until([&mut client, &mut counter], |[client, _]| client.state(id).unwrap().done() == 50);
    assert_eq!(total(&counter), 50);
    assert_eq!(client.outbox().collect::<Vec<_>>(), [(id, Msg::Added(50))]);
}

#[test]
fn two_processes_talk_over_ipv4() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    count_over(address);
}

#[test]
fn two_processes_talk_over_ipv6() {
    let [address] = free(Ipv6Addr::LOCALHOST);
    count_over(address);
}

#[test]
fn a_process_that_listens_for_both_versions_talks_to_either() {
    let [v6] = free(Ipv6Addr::UNSPECIFIED);
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, v6.port()));
    // The counter's own book names an IPv4 address; it listens on all IPv6 ones.
    let mut counter = counter(v4).bind(v6).build().unwrap();
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let (mut client, id) = client(AddressBook::from_iter([SocketAddr::new(ip, v6.port())]), 5);
        turn_until([&mut client, &mut counter], |[client, _]| client.state(id).unwrap().done() == 5);
    }
    assert_eq!(total(&counter), 10);
}

#[test]
fn a_turn_is_due_at_once_when_something_waits_that_no_datagram_brings() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    assert_eq!(counter.until_turn(), Some(Duration::ZERO), "what was done at the start is not released");
    counter.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(counter.until_turn(), None);
    assert!(counter.inject(Id::from(COUNTER), Msg::Add(1)));
    assert_eq!(counter.until_turn(), Some(Duration::ZERO));
    counter.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((counter.until_turn(), total(&counter)), (None, 1));
}

#[test]
fn actors_of_one_process_need_no_datagram() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let book = AddressBook::from_iter([address; 3]);
    let mut builder = Driver::<Toy>::builder(CLUSTER, key(), book);
    for (index, toy) in crate::toy::cluster(Flaw::None, 2, 100).into_iter().enumerate() {
        builder = builder.host(Id::from(index), toy);
    }
    let mut driver = builder.build().unwrap();
    turn_until([&mut driver], |[driver]| total(driver) == 200);
    assert_eq!((driver.counters().datagrams_out, driver.counters().messages_local), (0, 400));
}

#[test]
fn an_application_talks_to_its_actors() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    let (mut client, id) = client_of(&counter, 1);
    for n in 1..=5 {
        turn_until([&mut client, &mut counter], |[client, _]| client.outbox().eq([(id, Msg::Added(n))]));
        assert!(client.inject(id, Msg::More(1)));
    }
    assert!(!client.inject(Id::from(COUNTER), Msg::More(1)), "the counter lives elsewhere");
}

#[test]
fn what_was_saved_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    for run in 1..=3 {
        let [address] = free(Ipv4Addr::LOCALHOST);
        let mut counter = counter(address).data(dir.path()).build().unwrap();
        assert_eq!(total(&counter), (run - 1) * 20);
        let (mut client, id) = client_of(&counter, 20);
        turn_until([&mut client, &mut counter], |[client, _]| client.state(id).unwrap().done() == 20);
        let log = counter.counters().log;
        assert!(log.groups > 0 && log.syncs == log.groups);
    }
}

#[test]
fn nothing_leaves_when_a_save_fails() {
    let dir = tempfile::tempdir().unwrap();
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).data(dir.path()).build().unwrap();
    let (mut client, id) = client_of(&counter, 3);
    counter.fill_the_disk();
    client.turn(Some(Duration::ZERO)).unwrap();
    let error = (0..100).find_map(|_| counter.turn(Some(Duration::from_millis(10))).err()).unwrap();
    assert!(matches!(error, Error::LogWrite { .. }), "{error}");
    assert_eq!((counter.counters().datagrams_in, counter.counters().datagrams_out), (1, 0));
    client.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(client.state(id).unwrap().done(), 0);
    assert!(counter.turn(Some(Duration::ZERO)).is_err(), "and it does not go on");
}

#[test]
fn a_snapshot_that_fails_is_told_and_the_counter_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let [address] = free(Ipv4Addr::LOCALHOST);
    let always = Limits { log_per_snapshot: 0, min_log_len: 0, ..Limits::default() };
    let mut counter = counter(address).data(dir.path()).limits(always).build().unwrap();
    // A file cannot be created where a directory is.
    std::fs::create_dir(dir.path().join("snapshot-0000000000000001.tmp")).unwrap();
    let (mut client, _) = client_of(&counter, u64::MAX);
    let mut told = Vec::new();
    turn_until([&mut client, &mut counter], |[_, counter]| {
        told.extend(counter.complaints().map(|complaint| complaint.to_string()));
        !told.is_empty() && counter.counters().log.snapshots > 0
    });
    assert!(told[0].starts_with("no snapshot in") && told[0].contains("nothing is lost"), "{told:?}");
    assert!(counter.counters().log.failed_snapshots >= 1);
}

/// Sends datagrams to a counter until it has seen all; its counters.
fn counters_after(counter: &mut Driver<Toy>, datagrams: &[Vec<u8>]) -> Counters {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let before = counter.counters().datagrams_in;
    for batch in datagrams.chunks(16) {
        let seen = counter.counters().datagrams_in + batch.len() as u64;
        for datagram in batch {
            socket.send_to(datagram, counter.local_address()).unwrap();
        }
        turn_until([&mut *counter], |[counter]| counter.counters().datagrams_in == seen);
    }
    assert_eq!(counter.counters().datagrams_in, before + datagrams.len() as u64);
    counter.counters()
}

fn frame(cluster: u64, key: &Key, sender: Id, src: Id, dst: Id, msg: &Msg) -> Vec<u8> {
    let mut frame = FrameWriter::default();
    frame.begin(cluster, sender);
    frame.push(src, dst, msg, MAX_DATAGRAM_LEN).unwrap();
    frame.seal(&key.seal(), 1);
    frame.bytes().to_vec()
}

#[test]
fn what_is_not_authentic_never_reaches_an_actor_and_is_counted_by_reason() {
    let [address, other] = free(Ipv4Addr::LOCALHOST);
    let book = AddressBook::from_iter([address, other]);
    let host = Toy::Counter(Flaw::None);
    let mut counter =
        Driver::<Toy>::builder(CLUSTER, key(), book).host(Id::from(COUNTER), host).build().unwrap();
    let me = ClientProcess::random().unwrap().id(0);
    let [here, elsewhere] = [COUNTER, 1].map(Id::from);
    let add = Msg::Add(1);
    let good = frame(CLUSTER, &key(), me, me, here, &add);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        (Refusal::Length, vec![1; 20]),
        (Refusal::Length, vec![1; MAX_DATAGRAM_LEN + 1]),
        (Refusal::Length, Vec::new()),
        (Refusal::Magic, with(0, b'X')),
        (Refusal::Version, with(3, 200)),
        (Refusal::Cluster, frame(CLUSTER + 1, &key(), me, me, here, &add)),
        (Refusal::Forged, frame(CLUSTER, &Key::new([8; 32]), me, me, here, &add)),
        (Refusal::Forged, with(40, 0xaa)),
        (Refusal::Forged, good[..good.len() - 1].to_vec()),
        (Refusal::Source, frame(CLUSTER, &key(), me, elsewhere, here, &add)),
        (Refusal::Source, frame(CLUSTER, &key(), me, Id::from(LOCAL_APPLICATION), here, &add)),
        (Refusal::Destination, frame(CLUSTER, &key(), me, me, elsewhere, &add)),
        (Refusal::Destination, frame(CLUSTER, &key(), me, me, Id::from(LOCAL_APPLICATION), &add)),
    ];
    for (reason, datagram) in cases {
        let before = counter.counters().refused(reason);
        assert_eq!(counters_after(&mut counter, &[datagram]).refused(reason), before + 1, "{reason}");
    }
    assert_eq!(counter.complaints().count(), 0, "one datagram may have been damaged on its way");
    let strangers = [
        with(3, 200),
        frame(CLUSTER + 1, &key(), me, me, here, &add),
        frame(CLUSTER, &Key::new([8; 32]), me, me, here, &add),
    ];
    for stranger in strangers {
        counters_after(&mut counter, &vec![stranger; 20]);
    }
    let told: Vec<String> = counter.complaints().map(|complaint| complaint.to_string()).collect();
    assert_eq!(told.len(), 3, "once for a version, a cluster and a key that are not ours: {told:?}");
    assert!(told.iter().all(|told| told.contains("are not heard")), "{told:?}");
    let mut malformed = FrameWriter::default();
    malformed.begin(CLUSTER, me);
    malformed.push(me, here, &(9_u8, "no such message"), MAX_DATAGRAM_LEN).unwrap();
    malformed.seal(&key().seal(), 2);
    assert_eq!(counters_after(&mut counter, &[malformed.bytes().to_vec()]).refused(Refusal::Malformed), 1);
    assert_eq!((counter.counters().steps, total(&counter)), (0, 0));
    counters_after(&mut counter, &[good]);
    assert_eq!(total(&counter), 1, "the unchanged frame is accepted");
}

#[test]
fn random_datagrams_never_panic_and_never_reach_an_actor() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    let good = frame(CLUSTER, &key(), Id::from(COUNTER), Id::from(COUNTER), Id::from(COUNTER), &Msg::Add(1));
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let noise = prop::collection::vec(any::<u8>(), 0..1500);
    let damaged = (any::<prop::sample::Index>(), 1..=255_u8).prop_map(move |(at, change)| {
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        bytes
    });
    let datagrams = prop::collection::vec(prop_oneof![noise, damaged], 2_000);
    let datagrams = datagrams.new_tree(&mut runner).unwrap().current();
    let counters = counters_after(&mut counter, &datagrams);
    assert_eq!((counters.steps, counters.refused.iter().sum::<u64>()), (0, 2_000));
}

#[test]
fn a_repeated_datagram_is_harmless_and_does_not_divert_replies() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let me = ClientProcess::random().unwrap().id(0);
    let datagram = frame(CLUSTER, &key(), me, me, Id::from(COUNTER), &Msg::Add(1));
    client.send_to(&datagram, address).unwrap();
    turn_until([&mut counter], |[counter]| counter.counters().datagrams_out == 1);
    // From another address.
    counters_after(&mut counter, &vec![datagram; 10]);
    assert_eq!((total(&counter), counter.counters().messages_in), (1, 11));
    let mut bytes = [0; 2048];
    let mut replies = 0;
    while replies < 11 {
        let len = client.recv(&mut bytes).expect("every reply comes to the first address");
        replies += Frame::open(&bytes[..len], CLUSTER, &key().seal()).unwrap().parcels().count();
    }
}

/// Hands over what it is given: from the application to another actor, or to the application.
#[derive(Clone, Copy)]
struct Relay(Id);

impl Actor for Relay {
    type Msg = Vec<u8>;
    type Timer = ();
    type State = ();
    type Storage = Counts;
    type Random = ();

    fn on_start(&self, _: Id, _: &Option<Counts>, _: &mut Out<Self>) {}

    fn on_msg(&self, _: Id, _: &mut Cow<'_, ()>, src: Id, msg: Vec<u8>, out: &mut Out<Self>) {
        let application = Id::from(LOCAL_APPLICATION);
        out.send(if src == application { self.0 } else { application }, msg);
    }
}

fn relays() -> [Driver<Relay>; 2] {
    let addresses: [_; 2] = free(Ipv4Addr::LOCALHOST);
    let ids = [0, 1].map(Id::from);
    [(ids[0], ids[1]), (ids[1], ids[0])].map(|(me, other)| {
        Driver::builder(CLUSTER, key(), AddressBook::from_iter(addresses))
            .host(me, Relay(other))
            .build()
            .unwrap()
    })
}

#[test]
fn messages_up_to_the_limit_arrive_and_larger_ones_are_reported() {
    let [mut a, mut b] = relays();
    // The length of a byte string takes three bytes.
    let largest = vec![7; MAX_MESSAGE_LEN - 3];
    for msg in [vec![], vec![1; 1_400], largest.clone()] {
        a.inject(Id::from(0), msg.clone());
        turn_until([&mut a, &mut b], |[_, b]| b.outbox().eq([(Id::from(1), msg.clone())]));
    }
    a.inject(Id::from(0), vec![7; MAX_DATAGRAM_LEN]);
    a.turn(Some(Duration::ZERO)).unwrap();
    let complaints: Vec<String> = a.complaints().map(|e| e.to_string()).collect();
    assert_eq!(a.counters().oversized, 1);
    assert!(complaints.len() == 1 && complaints[0].contains("must page it"), "{complaints:?}");
    a.inject(Id::from(0), largest.clone());
    turn_until([&mut a, &mut b], |[_, b]| b.outbox().eq([(Id::from(1), largest.clone())]));
}

#[test]
fn what_goes_to_one_process_shares_datagrams() {
    let [mut a, mut b] = relays();
    for i in 0..100 {
        a.inject(Id::from(0), vec![i; 20]);
    }
    let mut received = Vec::new();
    turn_until([&mut a, &mut b], |[_, b]| {
        received.extend(b.outbox().map(|(_, msg)| msg[0]));
        received.len() == 100
    });
    assert!(received.is_sorted(), "in order");
    // 25 bytes each, in frames of at most 1,400 with 44 of their own.
    assert_eq!((a.counters().messages_out, a.counters().datagrams_out), (100, 2));
}

#[test]
fn what_waits_within_a_turn_is_bounded() {
    let [mut a, _b] = relays();
    let accepted = (0..70_000).filter(|_| a.inject(Id::from(0), vec![0; 1_400])).count();
    assert_eq!((accepted, a.counters().local_overflows), (1 << 16, 70_000 - (1 << 16)));
    a.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(a.counters().messages_local, 4_096, "the rest is for other turns");
    turn_until([&mut a], |[a]| a.counters().messages_local == accepted as u64);
    assert_eq!(a.counters().messages_out + a.counters().send_overflows, accepted as u64);
}

#[test]
fn actors_get_through_loss_and_duplication_and_a_cut_that_heals() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).seed(1).build().unwrap();
    let (mut client, id) = client_of(&counter, 30);
    counter.handle().set_faults(Faults { drop: 0.3, duplicate: 0.3, ..Faults::default() });
    turn_until([&mut client, &mut counter], |[client, _]| client.state(id).unwrap().done() == 30);
    assert!(client.counters().timeouts > 0, "lost replies were asked for again");
    assert!(counter.counters().injected_drops > 0);

    for cut in
        [Faults { cut: [id].into(), ..Faults::default() }, Faults { isolated: true, ..Faults::default() }]
    {
        counter.handle().set_faults(cut);
        client.inject(id, Msg::More(10));
        let refused = counter.counters().refused(Refusal::Fault);
        let before = total(&counter);
        turn_until([&mut client, &mut counter], |[_, counter]| {
            counter.counters().refused(Refusal::Fault) > refused + 2
        });
        assert_eq!(total(&counter), before);
        counter.handle().set_faults(Faults::default());
        turn_until([&mut client, &mut counter], |[_, counter]| total(counter) == before + 10);
    }
}

/// Writes down what it sees.
#[derive(Clone)]
struct Witness(Wants, Arc<Mutex<Vec<String>>>);

impl Witness {
    fn note(&self, what: String) {
        self.1.lock().unwrap().push(what);
    }
}

impl Observer<Toy> for Witness {
    fn wants(&self) -> Wants {
        self.0
    }

    fn on_step(&mut self, step: &Step<'_, Toy>) {
        let before = step.before.map(|state| state.counts().total);
        self.note(format!("{:?} -> {}, {} commands", before, step.after.counts().total, step.out.len()));
    }

    fn on_notice(&mut self, _: Duration, notice: &Notice) {
        self.note(format!("{notice:?}"));
    }

    fn on_commit(&mut self) {
        self.note("commit".into());
    }
}

#[test]
fn an_observer_sees_every_step_before_it_is_committed() {
    for (wants, expected) in [
        (Wants::States, vec!["None -> 0, 0 commands", "Some(0) -> 1, 2 commands", "commit"]),
        (Wants::Steps, vec!["None -> 0, 0 commands", "None -> 1, 2 commands", "commit"]),
        (Wants::Nothing, vec![]),
    ] {
        let [address] = free(Ipv4Addr::LOCALHOST);
        let witness = Witness(wants, Arc::default());
        let mut counter = counter(address).observer(witness.clone()).build().unwrap();
        counter.inject(Id::from(COUNTER), Msg::Add(1));
        counter.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(*witness.1.lock().unwrap(), expected);
        witness.1.lock().unwrap().clear();
        counter.handle().set_faults(Faults { cut: [Id::from(7)].into(), ..Faults::default() });
        counter.turn(Some(Duration::ZERO)).unwrap();
        let cuts = if wants == Wants::Nothing {
            vec![]
        } else {
            vec!["Cut(Id(0), Id(7))", "Cut(Id(7), Id(0))", "commit"]
        };
        assert_eq!(*witness.1.lock().unwrap(), cuts);
    }
}

#[test]
fn another_thread_stops_a_waiting_driver() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    let handle = counter.handle();
    let thread = std::thread::spawn(move || counter.run(|_| ()).map(|()| counter.counters().turns));
    let (mut client, id) = client(AddressBook::from_iter([address]), 5);
    turn_until([&mut client], |[client]| client.state(id).unwrap().done() == 5);
    handle.stop();
    assert!(thread.join().unwrap().unwrap() >= 5);
    assert!(handle.is_stopping());
}

#[test]
fn a_wake_up_ends_one_wait() {
    let [address] = free(Ipv4Addr::LOCALHOST);
    let mut counter = counter(address).build().unwrap();
    counter.turn(Some(Duration::ZERO)).unwrap();
    let handle = counter.handle();
    for _ in 0..3 {
        handle.wake();
        handle.wake();
        counter.turn(None).unwrap();
    }
    assert_eq!(counter.counters().datagrams_in, 0, "wake-ups are no datagrams of anybody else");
}

#[test]
fn what_does_not_fit_together_is_refused_with_a_reason() {
    let [a, b] = free(Ipv4Addr::LOCALHOST);
    let book = || AddressBook::from_iter([a, b]);
    let builder = || Driver::<Toy>::builder(CLUSTER, key(), book());
    let toy = || Toy::Counter(Flaw::None);
    let reason = |builder: Builder<Toy, WholeValue>| builder.build().map(|_| ()).unwrap_err().to_string();
    assert!(reason(builder()).contains("needs an actor"));
    assert!(reason(builder().host(Id::from(0), toy()).host(Id::from(0), toy())).contains("twice"));
    assert!(reason(builder().host(Id::from(2), toy())).contains("lists 2 nodes"));
    assert!(
        reason(builder().host(Id::from(0), toy()).host(Id::from(1), toy()))
            .contains("cannot share a process")
    );
    let mixed = AddressBook::from_iter([a, SocketAddr::from((Ipv6Addr::LOCALHOST, 1))]);
    let message = reason(Driver::builder(CLUSTER, key(), mixed).host(Id::from(0), toy()));
    assert!(message.contains("[::1]:1") && message.contains("listen on [::]"), "{message}");
    let _held = builder().host(Id::from(0), toy()).build().unwrap();
    let message = reason(builder().host(Id::from(0), toy()));
    assert!(
        message.contains(&a.to_string()) && message.contains("another process listens there"),
        "{message}"
    );
}
