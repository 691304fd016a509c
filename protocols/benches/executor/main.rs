//! The executor beside the other ways to find out what may run, in one run: full rescan, Tarjan that stops at the first
//! blocker, and the zigzag over leaders' columns. With all commits arriving, and with one vertex withheld to the end.
//!
//! ("Bipartisan Paxos", section 5, and its reference code, whose published runs all use zigzag.) Ratios are what counts:
//! how many times longer than ours the others take.

mod others;

use others::{EarlyStop, Rescan, Zigzag};
use parthood_protocols::graph::{Executor, VertexId, VertexSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

const VERTICES: u64 = 10_000;
const LEADERS: u64 = 5;
const RUNS: usize = 5;

/// Something that is told of commits and says what runs.
trait Executes: Default {
    /// Commits a vertex; what runs now, in order.
    fn commit(&mut self, vertex: VertexId, deps: VertexSet) -> Vec<Vec<VertexId>>;
}

#[derive(Default)]
struct WatchList(Executor<VertexSet>);

impl Executes for WatchList {
    fn commit(&mut self, vertex: VertexId, deps: VertexSet) -> Vec<Vec<VertexId>> {
        self.0.commit(vertex, deps).components
    }
}

/// The commits of a run, in order of arrival: a share of commands, in percent, touch one hot key and depend on the largest
/// number of each leader that did before (and so, as sets are sent, on all below).
fn commits(hot_percent: u64, withheld: bool) -> Vec<(VertexId, VertexSet)> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut hot = VertexSet::EMPTY;
    let mut all: Vec<(u64, bool, VertexId, VertexSet)> = vec![];
    for number in 0..VERTICES {
        let leader = u32::try_from(number % LEADERS).expect("few leaders");
        let vertex = VertexId { leader, id: number / LEADERS };
        let is_hot = below(100) < hot_percent;
        let deps = if is_hot { hot.clone() } else { VertexSet::EMPTY };
        if is_hot {
            hot.insert_range(leader, 0, vertex.id + 1);
        }
        // Commits overtake one another by up to twenty places.
        all.push((number + below(20), is_hot, vertex, deps));
    }
    all.sort_by_key(|(arrival, ..)| *arrival);
    if withheld {
        let first = all.iter().position(|(_, is_hot, ..)| *is_hot).expect("some command is hot");
        all[first..].rotate_left(1);
    }
    all.into_iter().map(|(_, _, vertex, deps)| (vertex, deps)).collect()
}

/// The best of several runs, and how much had run before the last commit.
fn timed<E: Executes>(commits: &[(VertexId, VertexSet)]) -> (Duration, usize) {
    let run = || {
        let mut executor = E::default();
        let commits = commits.to_vec();
        let (mut before_last, mut ran) = (0, 0);
        let start = Instant::now();
        for (vertex, deps) in commits {
            before_last = ran;
            ran += black_box(executor.commit(vertex, deps)).iter().map(Vec::len).sum::<usize>();
        }
        let time = start.elapsed();
        assert_eq!(ran as u64, VERTICES, "everything runs in the end");
        (time, before_last)
    };
    (0..RUNS).map(|_| run()).min().expect("several runs")
}

fn main() {
    println!("{VERTICES} vertices, {LEADERS} leaders, run at every commit; best of {RUNS}");
    println!("(in brackets: the share that has run before the last commit)");
    for withheld in [false, true] {
        for hot_percent in [0, 2, 10] {
            if withheld && hot_percent == 0 {
                continue;
            }
            let commits = commits(hot_percent, withheld);
            let ours = timed::<WatchList>(&commits);
            let others = [
                ("full rescan", timed::<Rescan>(&commits)),
                ("early stop", timed::<EarlyStop>(&commits)),
                ("zigzag", timed::<Zigzag>(&commits)),
            ];
            let stalled = if withheld { "one vertex withheld" } else { "nothing withheld" };
            println!("\n{hot_percent} % conflicts, {stalled}");
            let per_commit = ours.0.as_nanos() / u128::from(VERTICES);
            println!("  {:<12} {per_commit:>8} ns a commit  ({})", "watch list", share(ours.1));
            for (name, (time, before)) in others {
                let ratio = time.as_secs_f64() / ours.0.as_secs_f64();
                println!("  {name:<12} {ratio:>8.2} times ours    ({})", share(before));
            }
        }
    }
}

fn share(ran: usize) -> String {
    format!("{:.1} %", f64::from(u32::try_from(ran).expect("few vertices")) / 100.0)
}
