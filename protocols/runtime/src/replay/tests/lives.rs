//! What a life may forget of the one before, and what it may say again.

use super::*;

#[test]
fn what_a_process_forgets_as_a_whole_was_told_to_nobody() {
    // Both actors live in one process, which is killed before the save that the answer waited for was durable.
    let traces = |second: &str| {
        let header =
            r#"{"header":{"version":1,"protocol":"toy","actors":[],"hosted":[0,1],"parameters":null}}"#;
        let sent = r#"[{"send":{"dst":0,"msg":{"Add":1}}},{"set_timer":{"timer":"Retry","min_us":20000,"max_us":40000}}]"#;
        let first = format!(
            r#"{header}
{{"step":{{"at_us":0,"id":0,"cause":"start","out":[]}}}}
{{"step":{{"at_us":0,"id":1,"cause":"start","out":{sent}}}}}
{{"step":{{"at_us":1,"id":0,"cause":{{"deliver":{{"src":1,"msg":{{"Add":1}}}}}},"out":[{{"send":{{"dst":1,"msg":{{"Added":1}}}}}},"save"]}}}}
{{"step":{{"at_us":2,"id":1,"cause":{{"deliver":{{"src":0,"msg":{{"Added":1}}}}}},"out":[{{"send":{{"dst":0,"msg":{{"Add":2}}}}}},{{"set_timer":{{"timer":"Retry","min_us":20000,"max_us":40000}}}}]}}}}
"#
        );
        let again = r#"{"step":{"at_us":9,"id":0,"cause":"start","out":[]}}"#;
        match second {
            "" => vec![first + again],
            header => vec![first, format!("{header}\n{again}")],
        }
    };
    let header = r#"{"header":{"version":1,"protocol":"toy","actors":[],"hosted":[0,1],"parameters":null}}"#;
    assert_eq!(found(&traces(header)), None);
    let told = Origin { trace: 0, line: 4 };
    assert_eq!(found(&traces("")).unwrap().problem, Problem::Forgotten { told }, "only actor 0 was killed");
}

/// A saver whose starts send what is new in each life, and what a life before it may have sent and forgotten.
#[test]
fn what_a_start_sends_is_no_promise_of_the_life_before() {
    let savers = || vec![Toy::Counter(Flaw::None), Toy::Saver { counter: Id::from(0), goal: GOAL }];
    let schedule = |seed| {
        let times = (1..12).map(|i| ms(i * 37 + seed % 7));
        times.fold(Schedule::new(), |all, at| all.down(1, at, at + ms(2)))
    };
    let run = |seed, observer: &mut dyn Observer<Toy>| {
        let mut sim = Sim::new(savers(), settings(seed), observer).unwrap();
        sim.schedule(&schedule(seed)).unwrap();
        sim.run_until(ms(5000));
        sim.stats().nth(1).unwrap().crashes
    };
    for seed in 0..20 {
        let mut whole = writer(0..=1, None);
        assert_eq!(run(seed, &mut whole), 11);
        let whole = String::from_utf8(whole.finish().unwrap()).unwrap();
        let mut lives = PerLife { lives: Vec::new(), clocks: |_| None };
        run(seed, &mut lives);
        for traces in [vec![whole], lives.into_traces()] {
            let mut chain = Chain::default();
            assert_eq!(replayed(savers(), &traces, &mut chain).finding, None, "seed {seed}");
            assert_eq!(chain.states[&Id::from(1)].done(), GOAL, "seed {seed}");
        }
    }
}

#[test]
fn what_a_start_says_again_is_not_what_the_life_before_forgot() {
    // The save of 2 is lost with the first Add(4), which nobody got; the restart from 1 asks for it again.
    let asks = |numbers: &[u64]| {
        let sends = numbers.iter().map(|n| format!(r#"{{"send":{{"dst":0,"msg":{{"Add":{n}}}}}}},"#));
        let timer = r#"{"set_timer":{"timer":"Retry","min_us":20000,"max_us":40000}}"#;
        sends.collect::<String>() + timer
    };
    let step = |at: u64, id: usize, cause: &str, out: &str| {
        format!("{{\"step\":{{\"at_us\":{at},\"id\":{id},\"cause\":{cause},\"out\":[{out}]}}}}\n")
    };
    let adds = |at, n: u64, out: &str| {
        step(at, 0, &format!(r#"{{"deliver":{{"src":1,"msg":{{"Add":{n}}}}}}}"#), out)
    };
    let hears = |at, n: u64, out: &str| {
        step(
            at,
            1,
            &format!(r#"{{"deliver":{{"src":0,"msg":{{"Added":{n}}}}}}}"#),
            &format!(r#"{out},"save""#),
        )
    };
    let added = |n: u64| format!(r#"{{"send":{{"dst":1,"msg":{{"Added":{n}}}}}}},"save""#);
    let trace = [
        r#"{"header":{"version":1,"protocol":"toy","actors":[],"hosted":[0,1],"parameters":null}}"#
            .to_owned()
            + "\n",
        step(0, 0, r#""start""#, "") + &step(0, 1, r#""start""#, &asks(&[1, 2, 3])),
        adds(1, 1, &added(1)) + &adds(2, 2, &added(2)),
        hears(3, 1, &asks(&[2, 3])) + &hears(4, 2, &asks(&[3, 4])),
        step(5, 1, r#"{"recover":{"done":[],"total":1}}"#, &asks(&[2, 3, 4])),
        adds(6, 4, ""),
    ];
    let savers = vec![Toy::Counter(Flaw::None), Toy::Saver { counter: Id::from(0), goal: GOAL }];
    assert_eq!(replayed(savers.clone(), &[trace.concat()], &mut ()).finding, None);

    // Had it reached the counter before the restart, the save would have had to be durable.
    let mut early = trace;
    early.swap(4, 5);
    let told = replayed(savers, &[early.concat()], &mut ()).finding.unwrap().problem;
    assert_eq!(told, Problem::Forgotten { told: Origin { trace: 0, line: 7 } });
}

/// Two lives of the counter; in the first, the application adds 1 so many times.
fn counted_for_nothing(saves: u64, headers: [&str; 2]) -> [String; 2] {
    let [first, second] = headers.map(|fields| {
        format!(
            r#"{{"header":{{"version":1,"protocol":"toy","actors":[],"hosted":[0]{fields},"parameters":null}}}}
{{"step":{{"at_us":0,"id":0,"cause":"start","out":[]}}}}
"#
        )
    });
    let application = u64::MAX;
    let add = |n: u64| {
        format!(
            r#"{{"step":{{"at_us":{n},"id":0,"cause":{{"deliver":{{"src":{application},"msg":{{"Add":{n}}}}}}},"out":[{{"send":{{"dst":{application},"msg":{{"Added":{n}}}}}}},"save"]}}}}
"#
        )
    };
    [first + &(1..=saves).map(add).collect::<String>(), second]
}

#[test]
fn a_kill_may_lose_the_saves_of_a_whole_turn() {
    assert_eq!(found(&counted_for_nothing(10_000, ["", ""])), None);
}

#[test]
fn each_life_has_the_actor_of_its_trace_and_a_lost_disk_may_forget() {
    let [first, second] = counted_for_nothing(2, ["", r#","started_unix_us":9"#]);
    let elsewhere = r#"{"header":{"version":1,"protocol":"toy","actors":[],"hosted":[1],"parameters":null}}
{"step":{"at_us":0,"id":1,"cause":"start","out":[{"send":{"dst":0,"msg":{"Add":1}}},{"send":{"dst":0,"msg":{"Add":2}}}]}}
{"step":{"at_us":1,"id":1,"cause":{"deliver":{"src":0,"msg":{"Added":2}}},"out":[]}}
"#;
    // The counter is told to count for a client, which hears of it; then it starts again, and counts double.
    let first = first.replace("18446744073709551615", "1");
    let again = |cause: &str, total: u64| {
        format!(
            r#"{second}{{"step":{{"at_us":2,"id":0,"cause":{{"deliver":{{"src":{application},"msg":{{"Add":1}}}}}},"out":[{{"send":{{"dst":{application},"msg":{{"Added":1}}}}}},"save"]}}}}
{{"step":{{"at_us":3,"id":0,"cause":{{"{cause}":{{"done":[{application},1],"total":{total}}}}},"out":[]}}}}
"#,
            application = u64::MAX
        )
    };
    let found = |lost_disk: bool, second: String| {
        let traces = [&first, elsewhere, &second];
        let readers = traces.iter().map(|trace| TraceReader::new(trace.as_bytes()).unwrap()).collect();
        let cast = |trace: usize, id: Id| {
            let flaw = if trace == 2 { Flaw::CountsDouble } else { Flaw::None };
            let actor = if id == Id::from(0) { Toy::Counter(flaw) } else { Toy::Burst(2) };
            Some(Beginning { actor, lost_disk: lost_disk && trace == 2 })
        };
        replay(cast, readers, &mut ()).unwrap().finding.map(|finding| finding.problem)
    };
    let told = Origin { trace: 0, line: 4 };
    assert_eq!(found(true, again("recover", 2)), None);
    assert_eq!(found(false, again("recover", 2)), Some(Problem::Forgotten { told }));
    assert_eq!(
        found(true, again("recover", 1)),
        Some(Problem::StorageNeverSaved),
        "a disk that is there holds what was saved"
    );
}

#[test]
fn the_lives_of_a_process_are_in_order_although_its_clock_was_set_back() {
    let headers = [r#","started_unix_us":900,"life":900"#, r#","started_unix_us":20,"life":901"#];
    let [first, second] = counted_for_nothing(1, headers);
    let saved = r#"{"step":{"at_us":1,"id":0,"cause":{"recover":{"done":[18446744073709551615,1],"total":1}},"out":[]}}"#;
    let mut traces = [second.lines().next().unwrap().to_owned() + "\n" + saved + "\n", first];
    traces
        .sort_by_key(|trace| TraceReader::<_, StepOf<Toy>>::new(trace.as_bytes()).unwrap().header().began());
    assert_eq!(found(&traces), None);
    traces.reverse();
    assert_eq!(found(&traces).map(|finding| finding.problem), Some(Problem::StorageNeverSaved));
}

#[test]
fn what_others_of_its_process_told_of_a_lost_save_was_told() {
    // A counter and its proxy in one process, a client in another. The process is killed and has lost the addition.
    let actors = vec![
        Toy::Counter(Flaw::None),
        Toy::Proxy { counter: Id::from(0), client: Id::from(2) },
        Toy::Client { counter: Id::from(1), goal: 1 },
    ];
    let header = |hosted: &str, started: u64| {
        format!(
            r#"{{"header":{{"version":1,"protocol":"toy","actors":[],"hosted":{hosted},"started_unix_us":{started}}}}}
"#
        )
    };
    let starts = r#"{"step":{"at_us":0,"id":0,"cause":"start","out":[]}}
{"step":{"at_us":0,"id":1,"cause":"start","out":[]}}
"#;
    let addition = r#"{"step":{"at_us":1,"id":1,"cause":{"deliver":{"src":2,"msg":{"Add":1}}},"out":[{"send":{"dst":0,"msg":{"Add":1}}}]}}
{"step":{"at_us":2,"id":0,"cause":{"deliver":{"src":1,"msg":{"Add":1}}},"out":[{"send":{"dst":1,"msg":{"Added":1}}},"save"]}}
{"step":{"at_us":3,"id":1,"cause":{"deliver":{"src":0,"msg":{"Added":1}}},"out":[{"send":{"dst":2,"msg":{"Added":1}}}]}}
"#;
    let asked = r#"{"step":{"at_us":0,"id":2,"cause":"start","out":[{"send":{"dst":1,"msg":{"Add":1}}},{"set_timer":{"timer":"Retry","min_us":20000,"max_us":40000}}]}}
"#;
    let answered = r#"{"step":{"at_us":20,"id":2,"cause":{"deliver":{"src":1,"msg":{"Added":1}}},"out":[{"cancel_timer":"Retry"},{"send":{"dst":18446744073709551615,"msg":{"Added":1}}}]}}
"#;
    let found = |again: u64, second: &str, client: &str| {
        let traces = [
            header("[0,1]", 0) + starts + addition,
            header("[0,1]", again) + starts + second,
            header("[2]", 0) + client,
        ];
        replayed(actors.clone(), &traces, &mut ()).finding.map(|finding| finding.problem)
    };
    let (told, answered) = (Origin { trace: 0, line: 6 }, &(asked.to_owned() + answered));
    assert_eq!(found(100, "", asked), None, "nobody knows of it");
    assert_eq!(found(100, "", answered), Some(Problem::Forgotten { told }));
    let src = Id::from(1);
    assert_eq!(found(10, "", answered), Some(Problem::SentByForgotten { src, told }), "it was under way");
    assert_eq!(found(10, addition, answered), None, "the client was told of the second addition");
}
