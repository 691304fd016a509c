use super::*;
use crate::toy::{Counts, Flaw, Msg, State, Toy, cluster, ms};
use crate::trace::{Header, TraceWriter};
use crate::wire::encoded_len;
use crate::{Cause, Step};

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

fn settings(seed: u64) -> Settings {
    let network = Network { latency: Span::new(us(100), ms(5)), loss: 0.1, duplication: 0.1 };
    Settings { seed, network, sync: Span::new(us(50), ms(3)), ..Settings::default() }
}

fn calm() -> Settings {
    Settings { network: Network::perfect(ms(1)), ..Settings::default() }
}

fn budget(nodes: usize) -> Budget {
    Budget {
        nodes: (0..nodes).collect(),
        calm_at: ms(2000),
        crashes: 6,
        down_at_most: 1,
        down: Span::new(ms(1), ms(200)),
        pauses: 4,
        pause: Span::new(ms(1), ms(100)),
        cuts: 4,
        cut: Span::new(ms(1), ms(200)),
        storm: settings(0).network,
        calm: Network::default(),
    }
}

fn sim(actors: Vec<Toy>, settings: Settings) -> Sim<Toy> {
    Sim::new(actors, settings, ()).unwrap()
}

/// Additions of client 1 that the counter would still know after a crash now.
fn durably_done<O: Observer<Toy>>(sim: &Sim<Toy, O>) -> u64 {
    sim.durable(id(0)).and_then(|counts: &Counts| counts.done.get(&1)).copied().unwrap_or(0)
}

fn done<O: Observer<Toy>>(sim: &Sim<Toy, O>, client: usize) -> u64 {
    sim.state(Id::from(client)).map_or(0, State::done)
}

/// No client was told more than the counter knows durably.
fn keeps_its_word<O: Observer<Toy>>(sim: &Sim<Toy, O>) -> bool {
    done(sim, 1) <= durably_done(sim)
}

/// Writes down what arrives where, when.
#[derive(Default)]
struct Arrivals(Vec<(Duration, Id, Id, Msg)>);

impl Observer<Toy> for Arrivals {
    fn on_step(&mut self, step: &Step<'_, Toy>) {
        if let Cause::Deliver { src, msg } = &step.cause {
            self.0.push((step.at, *src, step.id, (*msg).clone()));
        }
    }
}

/// Runs a cluster under random faults and returns its trace.
fn traced(clients: usize, seed: u64) -> Vec<u8> {
    let writer = TraceWriter::new(Vec::new(), Header { seed: Some(seed), ..Header::default() }).unwrap();
    let mut sim = Sim::new(cluster(Flaw::None, clients, 60), settings(seed), writer).unwrap();
    sim.schedule(&Schedule::random(seed, clients + 1, &budget(clients + 1))).unwrap();
    sim.run_until(ms(4000));
    sim.into_observer().finish().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for clients in [1, 4] {
        let first = traced(clients, 3);
        assert!(first.len() > 10_000 && first == traced(clients, 3));
        assert!(first != traced(clients, 4));
    }
}

#[test]
fn messages_are_lost_and_duplicated_at_the_configured_rates() {
    let mut sim = sim(vec![Toy::Counter(Flaw::None), Toy::Burst(100_000)], settings(1));
    assert_eq!(sim.run_until(ms(1000)), Stop::Quiet);
    let Traffic { sent, lost, duplicated, arrived, .. } = *sim.traffic();
    assert_eq!(lost + arrived, sent + duplicated);
    let toy_answers = sent - 100_000;
    assert!(toy_answers < 100, "only what is in order is answered: {toy_answers}");
    assert!((9_700..10_300).contains(&lost), "a tenth of {sent} is lost: {lost}");
    assert!((8_700..9_300).contains(&duplicated), "a tenth of the rest is duplicated: {duplicated}");
    assert_eq!((lost, duplicated), (9922, 8853), "exact by seed");
}

fn number(msg: &Msg) -> Option<u64> {
    if let Msg::Add(n) = msg { Some(*n) } else { None }
}

#[test]
fn jitter_reorders_and_a_perfect_network_does_not() {
    let overtakes = |settings| {
        let actors = vec![Toy::Counter(Flaw::None), Toy::Burst(1000)];
        let mut sim = Sim::new(actors, settings, Arrivals::default()).unwrap();
        sim.run_until(ms(1000));
        let order: Vec<u64> = sim.into_observer().0.iter().filter_map(|(.., msg)| number(msg)).collect();
        order.windows(2).filter(|pair| pair[1] < pair[0]).count()
    };
    assert_eq!(overtakes(calm()), 0);
    let wild = overtakes(settings(2));
    assert!((400..600).contains(&wild), "neighbours are as often in order as not: {wild}");
}

#[test]
fn a_cut_link_carries_nothing_and_the_other_way_still_works() {
    let (from, to) = (ms(100), ms(400));
    for (cut, silent, heard) in [((1, 0), (1, 0), (2, 0)), ((0, 1), (0, 1), (1, 0))] {
        let mut sim = Sim::new(cluster(Flaw::None, 2, 10_000), calm(), Arrivals::default()).unwrap();
        sim.schedule(&Schedule::new().cut(vec![cut], from, to)).unwrap();
        sim.run_until(ms(1000));
        let arrivals = sim.into_observer().0;
        let count = |(src, dst): (usize, usize), from, to| {
            let is = |(at, s, d, _): &&(Duration, Id, Id, Msg)| {
                (*s, *d) == (Id::from(src), Id::from(dst)) && from < *at && *at < to
            };
            arrivals.iter().filter(is).count()
        };
        assert_eq!(count(silent, from, to), 0);
        assert!(
            count(heard, from, to) >= 5
                && count(silent, ms(0), from) > 10
                && count(silent, to, ms(1000)) > 10
        );
    }
}

#[test]
fn a_cut_loses_what_is_on_its_way() {
    let mut sim = sim(vec![Toy::Counter(Flaw::None), Toy::Burst(10)], calm());
    sim.schedule(&Schedule::new().cut(vec![(1, 0)], us(500), us(1500))).unwrap();
    sim.run_until(ms(10));
    assert_eq!((sim.traffic().cut, sim.traffic().arrived), (10, 0));
}

#[test]
fn every_message_is_accounted_for() {
    let mut totals = [0; 5];
    for seed in 0..10 {
        let limits = Limits { queue: 2, ..Limits::default() };
        let mut sim = sim(cluster(Flaw::None, 4, 100), Settings { limits, ..settings(seed) });
        sim.schedule(&Schedule::random(seed, 5, &budget(5))).unwrap();
        sim.inject(id(7), Msg::More(1));
        assert_eq!(sim.run_until(ms(60_000)), Stop::Quiet);
        let Traffic { sent, arrived, lost, duplicated, cut, to_down, overflow, unroutable, too_long } =
            *sim.traffic();
        assert_eq!(sent + duplicated, arrived + lost + cut + to_down + overflow, "{:?}", sim.traffic());
        totals = std::array::from_fn(|i| totals[i] + [lost, duplicated, cut, to_down, overflow][i]);
        assert_eq!((unroutable, too_long), (1, 0));
        assert_eq!(sim.stats().map(|node| node.sent).sum::<u64>(), sent);
    }
    assert!(totals.iter().all(|count| *count > 0), "each of these happened: {totals:?}");
}

#[test]
fn a_message_that_no_datagram_carries_is_dropped_and_counted() {
    // Up to 127, a number has one byte, and so has the kind of the message.
    let mut sim = sim(vec![Toy::Counter(Flaw::None), Toy::Burst(130)], calm());
    sim.set_longest(2, encoded_len);
    sim.run_until(ms(100));
    assert_eq!(
        (sim.traffic().too_long, sim.traffic().sent, sim.traffic().arrived),
        (3, 130 + 127, 127 + 127)
    );
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 127);

    sim.apply(&Fault::Crash(1)).unwrap();
    sim.apply(&Fault::Restart(1)).unwrap();
    sim.inject(id(0), Msg::More(u64::MAX));
    sim.run_until(ms(200));
    assert_eq!(sim.traffic().too_long, 6, "an application may say more");
}

#[test]
fn overlapping_cuts_end_with_the_last() {
    let mut links = Links::new(2);
    assert!(links.cut(0, 1) && !links.cut(0, 1));
    assert!(!links.heal(0, 1) && links.is_cut(0, 1));
    assert!(links.heal(0, 1) && !links.is_cut(0, 1) && !links.heal(0, 1));
    assert!(links.cut(0, 1) && links.is_cut(0, 1) && !links.is_cut(1, 0));
}

#[test]
fn a_crash_loses_what_is_not_durable_and_its_sends_with_it() {
    let settings = Settings { sync: Span::exactly(ms(10)), ..calm() };
    let mut sim = sim(cluster(Flaw::None, 1, 2), settings);
    sim.run_until(ms(5));
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 1);
    assert_eq!((sim.durable(id(0)), done(&sim, 1)), (None, 0));
    sim.apply(&Fault::Crash(0)).unwrap();
    assert_eq!(sim.state(id(0)), None);
    sim.run_until(ms(15));
    sim.apply(&Fault::Restart(0)).unwrap();
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 0);
    sim.run_until(ms(19));
    assert_eq!(done(&sim, 1), 0, "the answer was lost with the save");

    assert_eq!(sim.run_while(ms(1000), |sim| done(sim, 1) == 0), Stop::Done);
    assert_eq!(sim.durable(id(0)).unwrap().total, 1);
    sim.apply(&Fault::Crash(0)).unwrap();
    sim.apply(&Fault::Restart(0)).unwrap();
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 1, "what was durable is found again");
    assert_eq!(sim.run_until(ms(1000)), Stop::Quiet);
    assert_eq!((done(&sim, 1), sim.stats().next().unwrap().crashes), (2, 2));
}

#[test]
fn the_disk_of_an_earlier_life_confirms_nothing() {
    let mut sim = sim(vec![Toy::Counter(Flaw::None)], Settings { sync: Span::exactly(ms(10)), ..calm() });
    sim.inject(id(0), Msg::Add(1));
    sim.run_until(ms(5));
    sim.apply(&Fault::Crash(0)).unwrap();
    sim.apply(&Fault::Restart(0)).unwrap();
    sim.inject(id(0), Msg::Add(1));
    sim.run_until(ms(12));
    assert_eq!(sim.durable(id(0)), None, "the first save was under way until 10 ms, but it was lost");
    sim.run_until(ms(15));
    assert_eq!(sim.durable(id(0)).unwrap().total, 1);
}

#[test]
fn what_arrives_at_a_node_that_is_down_is_lost() {
    let mut sim = sim(cluster(Flaw::None, 1, 1), calm());
    sim.schedule(&Schedule::new().down(0, ms(0), ms(10))).unwrap();
    sim.run_until(ms(10));
    assert_eq!((sim.traffic().to_down, sim.traffic().arrived), (1, 0));
    sim.run_until(ms(1000));
    assert_eq!(done(&sim, 1), 1);
}

#[test]
fn sends_of_later_steps_wait_for_earlier_saves() {
    // The client asks again after 20 to 40 ms; the answer to that saves nothing, but tells of the save under way.
    let settings = Settings { sync: Span::exactly(ms(100)), ..calm() };
    let mut sim = sim(cluster(Flaw::None, 1, 1), settings);
    sim.run_until(ms(100));
    let counter = *sim.stats().next().unwrap();
    assert!(counter.received >= 3 && counter.saves == 1 && counter.sent == 0, "{counter:?}");
    sim.run_until(ms(103));
    assert_eq!(
        sim.stats().next().unwrap().sent,
        counter.received,
        "all answers leave when the save is durable"
    );
}

/// Runs two clients under random faults until the counter knows less than a client was told, or to the end.
fn run_under_faults(flaw: Flaw, settings: Settings) -> Sim<Toy> {
    let seed = settings.seed;
    let mut sim = sim(cluster(flaw, 2, 300), settings);
    // A client that crashes forgets what it was told, so the clients only get cut off.
    sim.schedule(&Schedule::random(seed, 3, &Budget { nodes: vec![0], ..budget(3) })).unwrap();
    sim.run_while(ms(20_000), |sim| {
        let known = |client| sim.state(id(0)).and_then(|state| state.counts().done.get(&client).copied());
        sim.state(id(0)).is_none()
            || done(sim, 1) <= known(1).unwrap_or(0) && done(sim, 2) <= known(2).unwrap_or(0)
    });
    sim
}

#[test]
fn no_promise_is_forgotten_under_random_faults_and_all_work_gets_done() {
    for seed in 0..20 {
        let sim = run_under_faults(Flaw::None, settings(seed));
        assert_eq!((done(&sim, 1), done(&sim, 2)), (300, 300), "seed {seed}");
        assert_eq!(sim.state(id(0)).unwrap().counts().total, 600, "seed {seed}: each addition is done once");
        let counter = sim.stats().next().unwrap();
        assert!(counter.crashes >= 3 && sim.now() > ms(2000), "seed {seed}: {counter:?}");
    }
}

#[test]
fn an_actor_that_forgets_is_caught() {
    let caught = |seed| done(&run_under_faults(Flaw::Forgets, settings(seed)), 1) < 300;
    assert!((0..5).all(caught));
}

#[test]
fn sends_before_saves_are_caught() {
    let broken = |seed| Settings { release: Release::BeforeSync, ..settings(seed) };
    let at_once = |seed| sim(cluster(Flaw::None, 1, 200), broken(seed)).run_while(ms(2000), keeps_its_word);
    assert!((0..5).all(|seed| at_once(seed) == Stop::Done), "a client knows what is not durable");
    let caught = (0..20).filter(|seed| done(&run_under_faults(Flaw::None, broken(*seed)), 1) < 300).count();
    assert!(caught >= 10, "a crash makes it visible: {caught} of 20 seeds");
}

#[test]
fn a_paused_node_does_nothing_and_loses_nothing() {
    let actors = vec![Toy::Counter(Flaw::None), Toy::Burst(10)];
    let mut sim = Sim::new(actors, calm(), Arrivals::default()).unwrap();
    sim.schedule(&Schedule::new().paused(0, us(500), ms(50))).unwrap();
    sim.run_until(ms(49));
    assert!(sim.observer().0.is_empty());
    assert_eq!(sim.stats().next().unwrap().queue_max, 10);
    sim.run_until(ms(100));
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 10);
    assert!(sim.observer().0.iter().filter(|(_, _, dst, _)| *dst == id(0)).all(|(at, ..)| *at == ms(50)));
}

#[test]
fn a_paused_node_sends_nothing_when_its_disk_is_done() {
    let settings = Settings { sync: Span::exactly(ms(10)), ..calm() };
    let mut sim = sim(cluster(Flaw::None, 1, 1), settings);
    sim.schedule(&Schedule::new().paused(0, ms(5), ms(19))).unwrap();
    sim.run_until(ms(18));
    let sent = |sim: &Sim<Toy>| sim.stats().next().unwrap().sent;
    assert_eq!((durably_done(&sim), sent(&sim)), (1, 0));
    sim.run_until(ms(19));
    assert_eq!(sent(&sim), 1);
}

#[test]
fn a_fast_clock_has_its_timers_fire_early() {
    let retries = |ppm| {
        let network = Network { loss: 1.0, ..Network::default() };
        let settings = Settings { network, clocks_ppm: vec![0, ppm], ..Settings::default() };
        let mut sim = sim(cluster(Flaw::None, 1, 1), settings);
        sim.run_until(ms(30_000));
        sim.stats().nth(1).unwrap().sent
    };
    // Every 30 ms on average, plus the first one.
    assert!((960..1040).contains(&retries(0)), "{}", retries(0));
    assert!((1920..2080).contains(&retries(1_000_000)));
    assert!((480..520).contains(&retries(-500_000)));
}

#[test]
fn a_server_is_as_fast_as_its_costs_allow() {
    // Each addition costs the counter 3 us to receive, 2 us to send and 1.25 us of work.
    let cost = Cost { receive: us(3), send: us(2) };
    let settings = Settings { costs: vec![cost], network: Network::perfect(us(10)), ..Settings::default() };
    let mut sim = sim(cluster(Flaw::None, 20, u64::MAX), settings);
    sim.set_work(Box::new(|step| Duration::from_nanos(if step.id == id(0) { 1250 } else { 0 })));
    sim.run_until(ms(10));
    sim.reset_stats();
    sim.run_until(ms(110));
    let counter = *sim.stats().next().unwrap();
    assert_eq!(counter.received, 16_000);
    assert!(counter.received.abs_diff(counter.sent) <= 1);
    assert!(counter.busy.abs_diff(ms(100)) <= us(7), "{counter:?}");
    assert!((14..=20).contains(&counter.queue_max), "the other clients wait: {counter:?}");
    assert_eq!(sim.stats().nth(1).unwrap().busy, Duration::ZERO);
}

#[test]
fn a_crash_during_service_loses_the_answer() {
    let settings = Settings { costs: vec![Cost { receive: ms(4), send: ms(0) }], ..calm() };
    let mut sim = sim(cluster(Flaw::None, 1, 1), settings);
    sim.run_until(ms(3));
    assert_eq!(sim.state(id(0)).unwrap().counts().total, 1);
    sim.apply(&Fault::Crash(0)).unwrap();
    sim.apply(&Fault::Restart(0)).unwrap();
    sim.run_until(ms(15));
    assert_eq!((done(&sim, 1), sim.state(id(0)).unwrap().counts().total), (0, 0));
}

#[test]
fn an_application_talks_to_its_nodes() {
    let mut sim = sim(cluster(Flaw::None, 1, 2), Settings::default());
    assert_eq!(sim.run_until(ms(1000)), Stop::Quiet);
    let first = sim.take_outbox();
    assert_eq!(
        first.iter().map(|reply| (reply.src, &reply.msg)).collect::<Vec<_>>(),
        [(id(1), &Msg::Added(2))]
    );
    sim.inject(id(1), Msg::More(3));
    sim.inject(id(9), Msg::More(3));
    assert_eq!(sim.run_until(ms(1000)), Stop::Quiet);
    assert_eq!(sim.take_outbox()[0].msg, Msg::Added(5));
    assert_eq!((sim.traffic().unroutable, sim.take_outbox().len()), (1, 0));
}

#[test]
fn a_choice_is_made_once_from_what_is_offered() {
    let luck = |seed| {
        let mut sim = sim(cluster(Flaw::None, 1, 80), Settings { seed, ..calm() });
        sim.run_until(ms(10_000));
        let Some(State::Client { luck, .. }) = sim.state(id(1)) else { panic!("a client") };
        *luck
    };
    let lucks: Vec<u64> = (0..20).map(luck).collect();
    assert!(lucks.iter().all(|luck| (10..=30).contains(luck)), "ten choices of 1, 2 or 3: {lucks:?}");
    assert!(lucks.iter().any(|luck| *luck != lucks[0]));
    let offered = |choice| {
        let mut sim = sim(cluster(Flaw::None, 1, 80), Settings { choice: Span::exactly(choice), ..calm() });
        sim.run_until(ms(10_000));
        let steps = sim.stats().nth(1).unwrap().steps;
        steps - sim.stats().nth(1).unwrap().received - 1
    };
    assert_eq!(offered(ms(0)), 10);
    // Eight additions take 16 ms: each offer replaces the one before, and the last one stands.
    assert_eq!(offered(ms(17)), 1);
}

#[test]
fn a_run_ends_where_it_is_told_to() {
    let mut sim = sim(
        cluster(Flaw::None, 1, 10),
        Settings { limits: Limits { events: 30, ..Limits::default() }, ..calm() },
    );
    assert_eq!((sim.run_until(ms(5)), sim.now()), (Stop::Deadline, ms(5)));
    assert_eq!(sim.run_while(ms(100), |sim| sim.now() < ms(7)), Stop::Done);
    assert_eq!((sim.run_until(ms(100)), sim.events()), (Stop::Events, 30));
}

#[test]
fn what_does_not_fit_is_lost_and_counted() {
    let limits = Limits { queue: 4, ..Limits::default() };
    let actors = || vec![Toy::Counter(Flaw::None), Toy::Burst(10)];
    let mut queue = sim(actors(), Settings { limits, ..calm() });
    queue.apply(&Fault::Pause(0)).unwrap();
    queue.run_until(ms(10));
    assert_eq!((queue.traffic().arrived, queue.traffic().overflow), (4, 6));

    let limits = Limits { in_flight: 3, ..Limits::default() };
    let network = sim(actors(), Settings { limits, ..calm() });
    assert_eq!(network.traffic().overflow, 7);

    let limits = Limits { outbox: 0, ..Limits::default() };
    let mut outbox = sim(cluster(Flaw::None, 1, 1), Settings { limits, ..calm() });
    outbox.run_until(ms(10));
    assert_eq!((outbox.take_outbox().len(), outbox.outbox_lost()), (0, 1));
}

#[test]
fn senseless_parameters_are_refused() {
    let refused = |settings| Sim::new(cluster(Flaw::None, 1, 1), settings, ()).unwrap_err().to_string();
    let network = Network { loss: 1.5, ..Network::default() };
    assert_eq!(
        refused(Settings { network, ..Settings::default() }),
        "the simulation cannot run: the probability of loss is 1.5, not between 0 and 1"
    );
    let network = Network { duplication: f64::NAN, ..Network::default() };
    assert!(refused(Settings { network, ..Settings::default() }).contains("duplication is NaN"));
    assert!(refused(Settings { sync: Span::new(ms(2), ms(1)), ..calm() }).contains("the wrong way round"));
    assert!(refused(Settings { clocks_ppm: vec![-1_000_000], ..calm() }).contains("runs backwards"));
    let mut sim = sim(cluster(Flaw::None, 1, 1), calm());
    let error = sim.schedule(&Schedule::new().with(ms(1), Fault::Crash(2))).unwrap_err();
    assert!(error.to_string().contains("names node 2, but there are 2 nodes"));
    assert!(sim.apply(&Fault::Cut(vec![(0, 5)])).is_err());
}

fn id(index: usize) -> Id {
    Id::from(index)
}
