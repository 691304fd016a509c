//! What the search, paths and other worlds promise.

use crate::toy_paxos::{Fault, Toy, chosen};
use crate::toys::{Climber, Line};
use crate::{run, run_within};
use parthood_models::{Cause, Error, Limits, Network, Path, Reductions, Setup, Step, System, Verdict, Watch};
use stateright::Model;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::collections::VecDeque;

const UNORDERED: Setup = Setup {
    network: Network::Unordered,
    lossy: false,
    down: Vec::new(),
    restarts: 0,
    torn: parthood_models::Torn::Off,
    timers: Vec::new(),
    reductions: Reductions::NONE,
};

#[test]
fn what_holds_somewhere_is_violated_only_where_it_is_asked_for() {
    let line = Line { last: 10, wrong: u32::MAX };
    let report = run(&line);
    assert_eq!((&report.verdict, report.reached[0].path.is_none()), (&Verdict::Holds, true));
    let only = Limits { only: Some("beyond".into()), ..Limits::default() };
    let report = run_within(&line, &only);
    assert_eq!(report.verdict, Verdict::Violated { property: "beyond", path: None });
}

#[test]
fn what_must_hold_at_the_end_is_asked_where_nothing_more_happens() {
    let report = run(&System::new(Climber { sends: vec![3, 4] }, Setup { lossy: true, ..UNORDERED }));
    let Verdict::Violated { property: "the largest is taken in", path: Some(path) } = report.verdict else {
        panic!()
    };
    assert_eq!(path.actions().len(), 2, "4 is lost, and 3 lost or taken in");
}

#[test]
fn who_is_down_does_nothing_and_hears_nothing() {
    let sends = || Climber { sends: vec![3] };
    for name in ["actor 0", "actor 1"] {
        let down = vec![name.to_owned()];
        let report = run(&System::new(sends(), Setup { down, restarts: 1, ..UNORDERED }));
        assert_eq!(report.unique, 1, "{name} is down, so nothing ever happens");
    }
    assert!(run(&System::new(sends(), UNORDERED)).unique > 1);
}

#[test]
fn a_path_leads_the_library_to_the_very_same_state() {
    let system = System::new(Toy::new(2, 3, 0, 1).with(Fault::IgnoresPromise), UNORDERED);
    let Verdict::Violated { path: Some(path), .. } = run(&system).verdict else { panic!() };
    let link = path.link();
    let mut numbers =
        link.strip_prefix("#/steps/").unwrap().split('/').map(|number| number.parse::<usize>().unwrap());
    let mut state = system.init_states().swap_remove(numbers.next().unwrap());
    for number in numbers {
        let mut actions = Vec::new();
        system.actions(&state, &mut actions);
        state = system.next_state(&state, actions.swap_remove(number)).unwrap();
    }
    assert!(chosen(&system.view(&state)).len() > 1);
    assert!(state == system.follow(&path, |_, _, _| {}).unwrap());
    let broken =
        Model::properties(&system).into_iter().find(|property| property.name == "agreement").unwrap();
    assert!(!(broken.condition)(&system, &state));
}

#[test]
fn a_path_that_does_not_fit_is_refused() {
    let system = System::new(Climber { sends: vec![3] }, UNORDERED);
    let follow = |text: &str| system.follow(&text.parse().unwrap(), |_, _, _| {}).err();
    assert_eq!(follow("0/7"), Some(Error::NoSuchAction { step: 1, index: 7, available: 1 }));
    assert_eq!(follow("0/0/0"), Some(Error::NoSuchAction { step: 2, index: 0, available: 0 }));
    let duplicating = System::new(Climber { sends: vec![3] }, Setup::default());
    let again = duplicating.follow(&"0/0/0".parse().unwrap(), |_, _, _| {}).err();
    assert_eq!(again, Some(Error::Ignored { step: 2, index: 0 }));
    for text in ["", "1/2", "0/x", "0/70000"] {
        assert_eq!(text.parse::<Path>(), Err(Error::NotAPath(text.into())));
    }
}

#[test]
fn a_trace_tells_every_step_in_words() {
    let setup = Setup { lossy: true, restarts: 1, ..UNORDERED };
    let system = System::new(Climber { sends: vec![3, 4] }, setup);
    let mut state = system.initial();
    let mut taken = Vec::new();
    for wanted in [
        "actor 1 gets 4 from actor 0",
        "actor 1 crashes and restarts",
        "lost on the way to actor 1: 3 from actor 0",
    ] {
        let mut moves = Vec::new();
        system.moves(&state, &mut moves);
        let at = moves.iter().position(|mv| system.describe(&state, *mv) == wanted).expect(wanted);
        taken.push(u16::try_from(at).unwrap());
        state = system.apply(&state, moves[at]).unwrap();
    }
    let text = system.trace(&Path::new(taken)).unwrap().to_string();
    let told = [
        "     actor 0 starts",
        "sends 3 to actor 1",
        "1. actor 1 gets 4 from actor 0",
        "now 4",
        "2. actor 1 restarts from what it saved",
        "now 0",
        "3. 3 from actor 0 to actor 1 is lost",
    ];
    let mut rest = text.as_str();
    for part in told {
        let at = rest.find(part).unwrap_or_else(|| panic!("`{part}` is missing or too early in\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

/// Another world: delivers messages in the order of sending, and shows every step to a watch.
fn deliver_in_order(toy: Toy) -> (Watch<Toy>, Option<&'static str>) {
    let mut watch = Watch::new(toy);
    let actors = parthood_models::Protocol::actors(&toy);
    let (mut states, mut flight) = (Vec::new(), VecDeque::new());
    let send = |flight: &mut VecDeque<_>, src: Id, out: Out<_>| {
        flight.extend(out.into_iter().filter_map(|command| match command {
            Command::Send(dst, msg) => Some((src, dst, msg)),
            _ => None,
        }));
    };
    for (at, actor) in actors.iter().enumerate() {
        let (id, mut out) = (at.into(), Out::new());
        let after = actor.on_start(id, &None, &mut out);
        watch.observe(&Step { id, cause: Cause::Start(None), before: None, after: &after, out: &out });
        states.push(after);
        send(&mut flight, id, out);
    }
    while let Some((src, dst, msg)) = flight.pop_front() {
        let before = states[usize::from(dst)];
        let (mut state, mut out) = (Cow::Owned(before), Out::new());
        actors[usize::from(dst)].on_msg(dst, &mut state, src, msg, &mut out);
        let cause = Cause::Deliver { src, msg: &msg };
        watch.observe(&Step { id: dst, cause, before: Some(&before), after: &state, out: &out });
        states[usize::from(dst)] = *state;
        send(&mut flight, dst, out);
        let now: Vec<_> = states.iter().collect();
        if let Some(violated) = watch.violated(&now, flight.is_empty()) {
            return (watch, Some(violated));
        }
    }
    (watch, None)
}

#[test]
fn the_same_properties_are_evaluated_outside_of_the_checker() {
    let (watch, violated) = deliver_in_order(Toy::new(2, 3, 0, 1));
    assert_eq!((violated, watch.unreached()), (None, [].as_slice()));
    let (_, violated) = deliver_in_order(Toy::new(2, 3, 0, 1).with(Fault::IgnoresPromise));
    assert_eq!(violated, Some("agreement"));
}
