use super::*;
use crate::toy::{Counts, Flaw, Msg, State, Timer, Toy, cluster, ms};
use crate::{Cause, Error, Host, LOCAL_APPLICATION, Observer, Step};
use proptest::prelude::*;
use stateright::actor::Out;
use std::io::{self, Write};

fn header() -> Header {
    Header {
        protocol: "toy".into(),
        seed: Some(7),
        actors: vec!["counter".into(), "client".into()],
        hosted: vec![Id::from(0), Id::from(1)],
        parameters: serde_json::json!({ "goal": 3 }),
        ..Header::default()
    }
}

/// A trace of one start and the given number of equal notices.
fn trace_of(notices: u64) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), header()).unwrap();
    let actor = cluster(Flaw::None, 1, 3).remove(1);
    let mut out = Out::new();
    let host = Host::start(Id::from(1), actor, &None, &mut out);
    writer.on_step(&Step::<Toy> {
        at: ms(5),
        id: host.id(),
        cause: Cause::Start(None),
        before: None,
        after: host.state(),
        out: &out,
    });
    for i in 0..notices {
        Observer::<Toy>::on_notice(&mut writer, ms(i), &Notice::Crash(Id::from(0)));
    }
    writer.finish().unwrap()
}

type Read = Result<(u64, Entry<StepOf<Toy>>), Error>;

fn read(bytes: &[u8]) -> (Vec<Read>, Option<Ending>) {
    let mut reader = TraceReader::new(bytes).unwrap();
    let entries = reader.by_ref().collect();
    (entries, reader.ending())
}

fn error(bytes: &[u8]) -> String {
    match TraceReader::<_, StepOf<Toy>>::new(bytes) {
        Err(error) => error.to_string(),
        Ok(reader) => reader.filter_map(Result::err).last().expect("an error").to_string(),
    }
}

#[test]
fn a_trace_is_read_as_it_was_written() {
    let bytes = trace_of(1);
    let reader = TraceReader::<_, StepOf<Toy>>::new(&*bytes).unwrap();
    assert_eq!(*reader.header(), Header { version: VERSION, ..header() });
    let (entries, ending) = read(&bytes);
    let entries: Vec<_> = entries.into_iter().map(Result::unwrap).collect();
    let step = StepRecord {
        at_us: 5000,
        id: Id::from(1),
        cause: CauseRecord::Start,
        out: vec![
            Output::Send { dst: Id::from(0), msg: Msg::Add(1) },
            Output::SetTimer { timer: Timer::Retry, min_us: 20_000, max_us: 40_000 },
        ],
    };
    let notice = Entry::Notice { at_us: 0, notice: Notice::Crash(Id::from(0)) };
    assert_eq!(entries, [(2, Entry::Step(step)), (3, notice)]);
    assert_eq!(ending, Some(Ending::Complete));
}

#[test]
fn the_format_is_the_documented_one() {
    let text = String::from_utf8(trace_of(1)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"header":{"version":1,"protocol":"toy","seed":7,"actors":["counter","client"],"hosted":[0,1],"parameters":{"goal":3}}}"#,
            r#"{"step":{"at_us":5000,"id":1,"cause":"start","out":[{"send":{"dst":0,"msg":{"Add":1}}},{"set_timer":{"timer":"Retry","min_us":20000,"max_us":40000}}]}}"#,
            r#"{"notice":{"at_us":0,"notice":{"crash":0}}}"#,
            r#"{"end":{"steps":1}}"#,
        ]
    );
}

#[test]
fn a_trace_is_read_without_knowing_the_protocol() {
    let bytes = trace_of(0);
    let mut reader = TraceReader::<_, AnyStep>::new(&*bytes).unwrap();
    let Some(Ok((2, Entry::Step(step)))) = reader.next() else { panic!("a step") };
    assert_eq!(step.out[0], Output::Send { dst: Id::from(0), msg: serde_json::json!({ "Add": 1 }) });
}

#[test]
fn a_trace_cut_anywhere_is_read_up_to_the_cut() {
    let bytes = trace_of(2);
    let header = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let complete = bytes.len() - 1;
    for cut in header + 1..complete {
        let whole = bytes[..cut].split(|byte| *byte == b'\n').count() - 2;
        let (entries, ending) = read(&bytes[..cut]);
        let partial = cut - bytes[..cut].iter().rposition(|byte| *byte == b'\n').unwrap() - 1;
        // A line that lacks nothing but its newline is whole.
        let lacks_newline = usize::from(bytes[cut] == b'\n');
        assert_eq!(entries.len(), whole + lacks_newline, "cut at {cut}");
        assert!(entries.iter().all(Result::is_ok), "cut at {cut}");
        let line = whole as u64 + 2;
        let expected = if partial == 0 || lacks_newline == 1 {
            Ending::Missing
        } else {
            Ending::Torn { line, bytes: partial }
        };
        assert_eq!(ending, Some(expected), "cut at {cut}");
    }
    assert_eq!(read(&bytes[..complete]).1, Some(Ending::Complete));
}

#[test]
fn an_error_names_line_and_column() {
    let text = String::from_utf8(trace_of(1)).unwrap();
    let tampered = text.replace(r#""at_us":5000"#, r#""at_us":"5""#);
    let message = error(tampered.as_bytes());
    assert!(message.starts_with("trace line 2, column 20: invalid type: string"), "{message}");
    assert!(!message.contains("at line"), "{message}");

    let second_header = text.replacen("{\"end\"", &format!("{}\n{{\"end\"", text.lines().next().unwrap()), 1);
    assert!(error(second_header.as_bytes()).starts_with("trace line 4, column 0: a second header"));
    let dropped: String = text.split_inclusive('\n').filter(|line| !line.contains("step\"")).collect();
    assert!(error(dropped.as_bytes()).contains("the end counts 1 steps, the trace has 0"));
    assert!(error(format!("{text}\n").as_bytes()).contains("trace line 5, column 0: a line after the end"));
    assert!(error(b"").contains("trace line 1, column 0: the file is empty"));
    assert!(error(b"{\"end\":{\"steps\":0}}\n").contains("trace line 1"));
    let other = text.replace("\"version\":1", "\"version\":9,\"unheard\":0");
    assert_eq!(
        error(other.as_bytes()),
        "the trace has format version 9, this program reads version 1; record it again"
    );
}

#[test]
fn a_line_has_a_limit() {
    let mut bytes = trace_of(0);
    bytes.truncate(bytes.len() - 20);
    bytes.resize(bytes.len() + LINE_BYTES_MAX + 1, b' ');
    bytes.push(b'\n');
    assert!(error(&bytes).contains("line 3 is longer than 67108864 bytes"));
}

#[test]
fn a_writer_keeps_its_first_error_and_stops() {
    /// A disk with room for `0` bytes.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(TraceWriter::new(Full(9), header()), Err(Error::TraceWrite(_))));
    let mut writer = TraceWriter::new(Full(180), header()).unwrap();
    for _ in 0..3 {
        Observer::<Toy>::on_notice(&mut writer, ms(1), &Notice::Crash(Id::from(0)));
    }
    assert!(writer.error().is_none(), "nothing was handed on yet");
    Observer::<Toy>::on_commit(&mut writer);
    assert!(writer.error().is_some());
    Observer::<Toy>::on_commit(&mut writer);
    let Err(Error::TraceWrite(error)) = writer.finish() else { panic!("the disk was full") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_commit_hands_every_line_on() {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, header()).unwrap();
    Observer::<Toy>::on_notice(&mut writer, ms(1), &Notice::Crash(Id::from(0)));
    Observer::<Toy>::on_commit(&mut writer);
    drop(writer);
    assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 3);
}

fn messages() -> impl Strategy<Value = Msg> {
    prop_oneof![any::<u64>().prop_map(Msg::Add), any::<u64>().prop_map(Msg::Added)]
}

fn outputs() -> impl Strategy<Value = CommandOf<Toy>> {
    let id = (0_usize..9).prop_map(Id::from);
    prop_oneof![
        (id, messages()).prop_map(|(dst, msg)| Command::Send(dst, msg)),
        (0_u64..1 << 40, 0_u64..1 << 40).prop_map(|(a, b)| {
            Command::SetTimer(Timer::Retry, Duration::from_nanos(a)..Duration::from_nanos(b))
        }),
        Just(()).prop_map(|()| Command::CancelTimer(Timer::Retry)),
        (".*", prop::collection::vec(any::<u64>(), 0..4))
            .prop_map(|(key, of)| Command::ChooseRandom(key, of)),
        any::<u64>().prop_map(|total| Command::Save(Counts { total, ..Counts::default() })),
    ]
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_commanded(
        src in any::<u32>(),
        msg in messages(),
        total in any::<u64>(),
        out in prop::collection::vec(outputs(), 0..6),
    ) {
        let mut writer = TraceWriter::new(Vec::new(), header()).unwrap();
        let (storage, src) = (Counts { done: [(3, 4)].into(), total }, Id::from(src as usize));
        let after = State::Counter(storage.clone());
        let (timer, random) = (Timer::Retry, total);
        let causes = [
            Cause::Start(Some(&storage)),
            Cause::Deliver { src, msg: &msg },
            Cause::Timeout(&timer),
            Cause::Random(&random),
        ];
        for cause in causes {
            let id = Id::from(LOCAL_APPLICATION);
            let step = Step::<Toy> { at: ms(total >> 20), id, cause, before: None, after: &after, out: &out };
            writer.on_step(&step);
        }
        let bytes = writer.finish().unwrap();
        let mut steps = read(&bytes).0.into_iter().map(|entry| match entry {
            Ok((_, Entry::Step(step))) => step,
            other => panic!("{other:?}"),
        });
        let causes = [
            CauseRecord::Recover(storage),
            CauseRecord::Deliver { src, msg },
            CauseRecord::Timeout(timer),
            CauseRecord::Random(random),
        ];
        for cause in causes {
            let step = steps.next().unwrap();
            prop_assert_eq!(step.cause, cause);
            prop_assert_eq!(step.out.len(), out.len());
            prop_assert!(step.out.iter().zip(&out).all(|(recorded, command)| recorded.is::<Toy>(command)));
        }
        prop_assert!(steps.next().is_none());
    }

    #[test]
    fn a_recorded_output_is_no_other_command(one in outputs(), other in outputs()) {
        let recorded = Output::of(&one);
        let text = serde_json::to_string(&recorded).unwrap();
        let read: Output<Msg, Timer, u64> = serde_json::from_str(&text).unwrap();
        // Durations are compared in the microseconds that are recorded, saves as facts.
        prop_assert_eq!(read.is::<Toy>(&other), recorded == Output::of(&other));
    }

    #[test]
    fn reading_garbage_never_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..600,
        flip in any::<u8>(),
    ) {
        if let Ok(reader) = TraceReader::<_, StepOf<Toy>>::new(&*garbage) {
            let _ = reader.count();
        }
        let mut bytes = trace_of(2);
        let place = at % bytes.len();
        bytes[place] ^= flip;
        bytes.splice(place..place, garbage.iter().copied().take(usize::from(flip % 5)));
        if let Ok(reader) = TraceReader::<_, StepOf<Toy>>::new(&*bytes) {
            let _ = reader.count();
        }
    }
}
