//! How many steps of an actor that does next to nothing can be simulated, recorded and replayed in a second.
//!
//! Tokens go round a ring; each step counts, saves and sends one message.

use parthood_runtime::replay::{Beginning, replay};
use parthood_runtime::sim::{Limits, Network, Settings, Sim, Stop};
use parthood_runtime::trace::{Header, TraceReader, TraceWriter};
use parthood_runtime::{Observer, Step, Wants};
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

const NODES: usize = 5;
const TOKENS: u64 = 16;
const STEPS: u64 = 500_000;

#[derive(Clone)]
struct Ring {
    next: Id,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Token {
    round: u64,
    hops: u64,
}

impl Actor for Ring {
    type Msg = Token;
    type Timer = ();
    type State = u64;
    type Storage = u64;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<u64>, out: &mut Out<Self>) -> u64 {
        (0..TOKENS).for_each(|round| out.send(self.next, Token { round, hops: 0 }));
        storage.unwrap_or(0)
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, u64>, _: Id, token: Token, out: &mut Out<Self>) {
        *state.to_mut() += 1;
        out.save(**state);
        out.send(self.next, Token { hops: token.hops + 1, ..token });
    }
}

/// Looks at each step and its states.
struct Looks(Wants);

impl Observer<Ring> for Looks {
    fn wants(&self) -> Wants {
        self.0
    }

    fn on_step(&mut self, step: &Step<'_, Ring>) {
        black_box(step);
    }
}

fn ring() -> Vec<Ring> {
    (0..NODES).map(|index| Ring { next: Id::from((index + 1) % NODES) }).collect()
}

fn simulated<O: Observer<Ring>>(observer: O) -> O {
    let settings = Settings {
        network: Network::default(),
        limits: Limits { events: STEPS, ..Limits::default() },
        ..Settings::default()
    };
    let mut sim = Sim::new(ring(), settings, observer).expect("these settings make sense");
    assert_eq!(sim.run_until(Duration::MAX), Stop::Events);
    sim.into_observer()
}

/// The best of five, because others may use the machine too.
fn timed<T>(what: &str, work: impl Fn() -> T) -> T {
    let runs = (0..5).map(|_| {
        let start = Instant::now();
        let result = work();
        (start.elapsed(), result)
    });
    let (time, result) = runs.min_by_key(|(time, _)| *time).expect("five runs");
    #[allow(clippy::cast_precision_loss, reason = "half a million is exact")]
    let rate = STEPS as f64 / time.as_secs_f64();
    println!("{what:36} {rate:12.0} steps/s");
    result
}

fn main() {
    timed("simulated", || simulated(()));
    timed("simulated, steps observed", || simulated(Looks(Wants::Steps)));
    timed("simulated, steps and states observed", || simulated(Looks(Wants::States)));
    let header = Header { hosted: (0..NODES).map(Id::from).collect(), ..Header::default() };
    let trace = timed("simulated and recorded", || {
        let writer = TraceWriter::new(Vec::new(), header.clone()).expect("memory can be written to");
        simulated(writer).finish().expect("memory can be written to")
    });
    println!("{:36} {:12} bytes/step", "", trace.len() as u64 / STEPS);
    let read = timed("read", || {
        let reader = TraceReader::<_, parthood_runtime::trace::StepOf<Ring>>::new(&*trace);
        reader.expect("this program wrote it").count() as u64
    });
    let report = timed("read and replayed", || {
        let reader = TraceReader::new(&*trace).expect("this program wrote it");
        let nodes = ring();
        let cast = |_, id| nodes.get(usize::from(id)).cloned().map(Beginning::from);
        replay(cast, vec![reader], &mut ()).expect("this program wrote it")
    });
    assert!(report.finding.is_none() && report.steps == read);
}
