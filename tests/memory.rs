//! What nodes remember in long runs: as much in the end as on the way, if all that nobody needs is dropped.

use parthood_protocols::state_machine::{Bytes, KeyValueCommand};
use parthood_runtime::Runnable;
use parthood_runtime::sim::{Settings, Sim, Stop};
use stateright::actor::Id;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

pub(crate) const CLIENTS: usize = 400;
pub(crate) const BATCH: usize = 100;
const SAMPLES: u64 = 20;
/// A command of each client, written out: what any role may hold at any time, so that less is no growth.
const IN_FLIGHT: usize = 256 * CLIENTS;

/// A long run: nodes first, then [`CLIENTS`], which write.
pub(crate) struct Long<A: Runnable, R> {
    pub(crate) actors: Vec<A>,
    /// The role of each node.
    pub(crate) roles: Vec<R>,
    /// How many commands each client has in its script.
    pub(crate) commands_each: usize,
    /// Slots that each replica has executed.
    pub(crate) executed: fn(&A::State) -> Option<u64>,
    /// Commands that a client has had answered, if it waits for none.
    pub(crate) answered: fn(&A::State) -> Option<usize>,
}

/// A script of writes to a key of its own.
pub(crate) fn writes(number: usize, count: usize) -> Vec<KeyValueCommand> {
    vec![KeyValueCommand::Put(Bytes::from(&format!("{number}")), Bytes::from("sixteen bytes...")); count]
}

impl<A: Runnable<State: Debug + 'static>, R: Ord + Copy + Debug> Long<A, R> {
    /// What the nodes of each role remember, written out, at equal distances in the log. All clients are done at the end.
    fn remembered(self) -> Vec<BTreeMap<R, usize>> {
        let Self { actors, roles, commands_each, executed, answered } = self;
        let mut sim = Sim::new(actors, Settings::default(), ()).unwrap();
        let apart = (CLIENTS * commands_each / BATCH) as u64 / SAMPLES;
        let nodes = roles.len();
        let mut samples = vec![];
        for sample in 1..=SAMPLES {
            let slow = |sim: &Sim<A, ()>| {
                (0..nodes)
                    .filter_map(|id| sim.state(Id::from(id)).and_then(executed))
                    .any(|slots| slots < sample * apart)
            };
            assert_eq!(sim.run_while(Duration::from_secs(600), slow), Stop::Done);
            let mut sizes = BTreeMap::new();
            for (id, role) in roles.iter().enumerate() {
                *sizes.entry(*role).or_default() += format!("{:?}", sim.state(Id::from(id))).len();
            }
            samples.push(sizes);
        }
        let busy = |sim: &Sim<A, ()>| {
            (nodes..nodes + CLIENTS)
                .any(|id| sim.state(Id::from(id)).and_then(answered) != Some(commands_each))
        };
        assert_eq!(sim.run_while(Duration::from_secs(600), busy), Stop::Done);
        samples
    }

    /// By role, the most that it remembers in the second half of a run, in percent of the most in the first.
    pub(crate) fn growth(self) -> BTreeMap<R, usize> {
        let samples = self.remembered();
        let (first, second) = samples.split_at(samples.len() / 2);
        let most = |samples: &[BTreeMap<R, usize>], role| {
            samples.iter().map(|sizes| sizes[&role]).fold(IN_FLIGHT, usize::max)
        };
        samples[0].keys().map(|role| (*role, 100 * most(second, *role) / most(first, *role))).collect()
    }
}
