//! The search for the best quorum system over given nodes.
//!
//! Up to [`MAX_ENUMERATED`] nodes all duplicate-free systems are candidates (the original's search space), each once. A
//! linear program per candidate would be too slow; but the prices that prove one optimum bound every other candidate from
//! below: price its cheapest read quorum and its cheapest write quorum (weak duality). So the search keeps a bound per
//! candidate, solves those with the least bound first, raises all bounds with the prices it gets, and ends when no bound is
//! below the best value: that value is then proved to be the optimum, up to the rounding of floating point. Stopped early,
//! the least bound that is left is the gap. Prices that prove a candidate infeasible reject others in the same way.
//!
//! Nodes with equal attributes are interchangeable, so one candidate of each shape is enough. Above [`MAX_ENUMERATED`]
//! nodes the search climbs from known constructions instead, and proves nothing but the bound of section 5.2 of the
//! specification.
//!
//! The majority is solved before anything else, so that there is an answer however early the search is stopped: if any
//! system survives so many crashes, the majority does.
//!
//! The answer does not depend on the number of threads: candidates are solved in batches of fixed size.

mod bounds;
mod canonical;
mod climb;

pub use canonical::{MAX_ENUMERATED, duplicate_free};

use crate::plan::{Plan, attempt};
use crate::problem::{Objective, Problem};
use crate::program::{Program, Room};
use crate::{Attributes, Cluster, Error, Expr, Node, ReadWriteQuorumSystem, Result};
use bounds::Prices;
use canonical::Arena;
use std::collections::BTreeSet;

/// Candidates are solved this many at a time, one per thread.
const BATCH: usize = 2;
/// So many batches are taken by least bound, with all bounds raised after each; the others by sweeping.
const PASSES: usize = 32;
/// Candidates are swept in blocks of this size.
const BLOCK: usize = 1024;
/// Whether to go on is asked once in so many shapes.
const SHAPES: usize = 4096;
/// So many price vectors are kept.
const POOL: usize = 256;
/// A candidate must be better by more than this share to count as better.
const TIE: f64 = 1e-9;

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The candidates that have the required resilience, one of each shape.
    pub candidates: usize,
    /// Those that may still be better than the best.
    pub open: usize,
    /// Those whose linear program was solved.
    pub solved: usize,
    /// The best value so far.
    pub best: Option<f64>,
    /// No candidate is better than this.
    pub bound: f64,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The best system.
    pub system: ReadWriteQuorumSystem,
    /// Its optimum.
    pub value: f64,
    /// No candidate is better than this; equal to the value if the answer is proved.
    pub bound: f64,
    /// Is the value the optimum over all duplicate-free systems of these nodes?
    pub proved: bool,
    /// How far the search went.
    pub progress: Progress,
}

impl Found {
    /// By what share of the value a better candidate could be better.
    pub fn gap(&self) -> f64 {
        if self.value > self.bound { (self.value - self.bound) / self.value } else { 0.0 }
    }
}

/// Finds the system over all nodes of a cluster on which the plan's optimum is the best, among those that survive
/// `resilience` crashes. `go_on` is called between batches and ends the search early by returning false.
///
/// # Errors
/// When the plan or the cluster is invalid, or no candidate keeps the limits and the resilience (so far).
pub fn search(
    cluster: &Cluster,
    plan: &Plan,
    resilience: usize,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Found> {
    plan.check()?;
    let nodes: Vec<Node> = cluster.nodes().collect();
    match nodes.len() {
        0 => Err(Error::Empty { what: "a search" }),
        1..=MAX_ENUMERATED => Exhaustive::new(cluster, plan, nodes).run(resilience, go_on),
        _ => climb::climb(cluster, plan, resilience, go_on),
    }
}

/// No system over these nodes has a lower value: every read meets every write in at least one node, so the Cauchy-Schwarz
/// inequality bounds the load, and a quorum has at least one member.
pub(crate) fn universal_bound(cluster: &Cluster, plan: &Plan) -> f64 {
    let sum = |value: fn(&Attributes) -> f64| cluster.iter().map(value).sum::<f64>();
    match plan.objective() {
        Objective::Network => 1.0,
        Objective::Latency => cluster.iter().map(|node| node.latency).fold(f64::INFINITY, f64::min),
        Objective::Load => plan.workload().over(|read| {
            let both =
                2.0 * (read * (1.0 - read) / sum(|node| node.read_capacity * node.write_capacity)).sqrt();
            let reads = read / sum(|node| node.read_capacity);
            let writes = (1.0 - read) / sum(|node| node.write_capacity);
            both.max(reads).max(writes)
        }),
    }
}

/// The outcome for one candidate.
struct Tried {
    value: Option<f64>,
    prices: Prices,
}

struct Exhaustive<'a> {
    cluster: &'a Cluster,
    plan: &'a Plan,
    nodes: Vec<Node>,
    /// No candidate is better than this.
    floor: f64,
    /// Candidates that may be better than the best, with their bounds.
    open: Vec<(u32, f64)>,
    candidates: usize,
    solved: usize,
    best: Option<(f64, Expr)>,
    /// Price vectors of earlier solutions, the newest last.
    pool: Vec<Prices>,
}

impl<'a> Exhaustive<'a> {
    fn new(cluster: &'a Cluster, plan: &'a Plan, nodes: Vec<Node>) -> Self {
        Self {
            floor: universal_bound(cluster, plan),
            open: Vec::new(),
            candidates: 0,
            solved: 0,
            best: None,
            pool: Vec::new(),
            cluster,
            plan,
            nodes,
        }
    }

    fn run(mut self, resilience: usize, go_on: &mut dyn FnMut(&Progress) -> bool) -> Result<Found> {
        let majority = Expr::majority(self.nodes.iter().copied())?;
        if majority.resilience()?.min(majority.dual().resilience()?) >= resilience {
            let tried = self.try_one(majority.clone())?;
            self.learn(majority, tried);
        }
        let proved = match self.enumerate(resilience, go_on) {
            Some(arena) => self.close(&arena, go_on)?,
            None => false,
        };
        let progress = self.progress();
        let Some((value, reads)) = self.best else {
            return Err(Error::NothingFound { candidates: self.solved });
        };
        let (system, bound) = (ReadWriteQuorumSystem::reads(reads), progress.bound.min(value));
        Ok(Found { system, value, bound, proved, progress })
    }

    /// Lists the candidates, one of each shape; none if stopped.
    fn enumerate(&mut self, resilience: usize, go_on: &mut dyn FnMut(&Progress) -> bool) -> Option<Arena> {
        let progress = self.progress();
        let mut go_on = || go_on(&progress);
        let arena = go_on().then(|| Arena::new(self.nodes.len(), &mut go_on))??;
        let ones = vec![1.0; self.nodes.len()];
        // The fewest crashes that stop reads are the smallest write quorum, and the other way round.
        let needed = crate::number::count(resilience.saturating_add(1));
        let kills = [arena.least(&ones, true), arena.least(&ones, false)];
        let survives = |tree: &u32| kills.iter().all(|kills| kills[*tree as usize] >= needed);
        let mut open: Vec<u32> = arena.complete.iter().copied().filter(survives).collect();
        let color = colors(self.cluster, self.plan);
        if color.iter().collect::<BTreeSet<_>>().len() < color.len() {
            let mut seen = BTreeSet::new();
            let mut shapes = Vec::new();
            for block in open.chunks(SHAPES) {
                shapes.extend(block.iter().copied().filter(|tree| seen.insert(arena.shape(*tree, &color))));
                go_on().then_some(())?;
            }
            open = shapes;
        }
        self.candidates = open.len();
        self.open = open.into_iter().map(|tree| (tree, 0.0)).collect();
        Some(arena)
    }

    /// Solves or rejects all candidates; false if stopped.
    fn close(&mut self, arena: &Arena, go_on: &mut dyn FnMut(&Progress) -> bool) -> Result<bool> {
        // So few passes leave all prices in the pool.
        let mut fresh = 0;
        for _ in 0..PASSES {
            let progress = self.progress();
            let mut going = go_on(&progress);
            for prices in self.pool.iter().skip(fresh) {
                prices.raise(arena, &mut self.open, &mut || {
                    going = going && go_on(&progress);
                    going
                });
            }
            if !going {
                return Ok(false);
            }
            let best = self.to_beat();
            self.open.retain(|(_, bound)| *bound < best);
            if self.open.is_empty() {
                return Ok(true);
            }
            let batch = self.least_bounds();
            fresh = self.pool.len();
            self.solve(arena, &batch)?;
        }
        self.open.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        while !self.open.is_empty() {
            if !self.sweep(arena, go_on)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Closes the next candidates in ascending order of their bounds: by the pool of prices, or else by solving them.
    fn sweep(&mut self, arena: &Arena, go_on: &mut dyn FnMut(&Progress) -> bool) -> Result<bool> {
        let first = self.open.len() - self.open.len().min(BLOCK);
        let (best, half) = (self.to_beat(), (self.open.len() - first) / 2);
        let (slower, faster) = self.open[first..].split_at(half);
        let filter = |block: &[(u32, f64)]| bounds::survivors(arena, &self.pool, block, best);
        let survivors: Vec<(u32, f64)> = if self.open.len() < BLOCK {
            [filter(slower), filter(faster)].concat()
        } else {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| filter(slower));
                let mine = filter(faster);
                [other.join().expect("pricing a candidate does not panic"), mine].concat()
            })
        };
        self.open.truncate(first);
        self.open.extend(survivors);
        let known = self.solved;
        while self.open.len() > first {
            if !go_on(&self.progress()) {
                return Ok(false);
            }
            let (best, fresh) = (self.to_beat(), self.solved - known);
            let fresh = self.pool.len() - fresh.min(self.pool.len());
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH && self.open.len() > first {
                let next = self.open.pop().into_iter().collect::<Vec<_>>();
                batch.extend(bounds::survivors(arena, &self.pool[fresh..], &next, best).iter().map(|c| c.0));
            }
            self.solve(arena, &batch)?;
        }
        Ok(true)
    }

    /// Solves candidates and keeps the best value and the prices.
    fn solve(&mut self, arena: &Arena, batch: &[u32]) -> Result<()> {
        let candidates: Vec<Expr> = batch.iter().map(|tree| arena.expr(*tree, &self.nodes)).collect();
        let tried = self.try_all(&candidates)?;
        for (reads, tried) in candidates.into_iter().zip(tried) {
            self.learn(reads, tried);
        }
        let excess = self.pool.len().saturating_sub(POOL);
        self.pool.drain(..excess);
        Ok(())
    }

    fn learn(&mut self, reads: Expr, tried: Tried) {
        self.solved += 1;
        if let Some(value) = tried.value.filter(|value| *value < self.to_beat()) {
            self.best = Some((value, reads));
        }
        self.pool.push(tried.prices);
    }

    /// A candidate must be below this to be better than the best.
    fn to_beat(&self) -> f64 {
        self.best.as_ref().map_or(f64::INFINITY, |(value, _)| value * (1.0 - TIE))
    }

    fn progress(&self) -> Progress {
        let best = self.best.as_ref().map(|(value, _)| *value);
        let least = self.open.iter().map(|(_, bound)| *bound).fold(f64::INFINITY, f64::min);
        // Before the candidates are listed nothing is known of them.
        let listed = if self.candidates == 0 { self.floor } else { f64::INFINITY };
        let bound = least.min(best.unwrap_or(f64::INFINITY)).min(listed).max(self.floor);
        let bound = if bound.is_finite() { bound } else { self.floor };
        Progress { candidates: self.candidates, open: self.open.len(), solved: self.solved, best, bound }
    }

    /// Takes the candidates with the least bounds.
    fn least_bounds(&mut self) -> Vec<u32> {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH && !self.open.is_empty() {
            let least = (0..self.open.len()).min_by(|a, b| self.open[*a].1.total_cmp(&self.open[*b].1));
            batch.push(self.open.remove(least.expect("a candidate is open")).0);
        }
        batch
    }

    fn try_all(&self, batch: &[Expr]) -> Result<Vec<Tried>> {
        // A thread costs more than a small program.
        if self.nodes.len() < 6 || batch.len() < 2 {
            return batch.iter().map(|reads| self.try_one(reads.clone())).collect();
        }
        std::thread::scope(|scope| {
            let others: Vec<_> =
                batch[1..].iter().map(|reads| scope.spawn(|| self.try_one(reads.clone()))).collect();
            let mut tried = vec![self.try_one(batch[0].clone())?];
            for other in others {
                tried.push(other.join().expect("solving a candidate does not panic")?);
            }
            Ok(tried)
        })
    }

    fn try_one(&self, reads: Expr) -> Result<Tried> {
        match problem(self.cluster, self.plan, reads) {
            Ok(problem) => bounding_prices(&problem),
            // Without a resilient set there is nothing to price, and nothing to learn.
            Err(Error::NoResilientSet { .. }) => {
                Ok(Tried { value: None, prices: Prices::none(self.nodes.len()) })
            }
            Err(error) => Err(error),
        }
    }
}

fn problem(cluster: &Cluster, plan: &Plan, reads: Expr) -> Result<Problem> {
    plan.problem(&ReadWriteQuorumSystem::reads(reads), cluster)
}

/// Solves a problem and returns its value, if it is feasible, and the prices that prove it.
fn bounding_prices(problem: &Problem) -> Result<Tried> {
    let (scale, ended) = attempt(problem)?;
    let program = Program::<f64>::new(problem, scale);
    let mut room = Room::new(&program);
    program.price(program.priced(&ended.y), ended.feasible, &mut room);
    let constant = (program.families()..program.rows()).map(|row| ended.y[row] * program.bound(row)).sum();
    let unit = ended.feasible.then_some(scale.of(problem.objective));
    let latencies = problem.families[0].source.latencies();
    let prices = Prices::new(room.prices, latencies, constant, unit);
    Ok(Tried { value: unit.map(|unit| ended.value / unit), prices })
}

/// Equal numbers for nodes that nothing distinguishes.
fn colors(cluster: &Cluster, plan: &Plan) -> Vec<u8> {
    let attributes: Vec<&Attributes> = cluster.iter().collect();
    let mut metrics = plan.limits().iter().map(|(metric, _)| *metric).chain([plan.objective()]);
    let timed = metrics.any(|metric| metric == Objective::Latency);
    let same = |a: usize, b: usize| {
        let latency = |i: usize| if timed { attributes[i].latency } else { 0.0 };
        let key = |i: usize| (attributes[i].read_capacity, attributes[i].write_capacity, latency(i));
        key(a) == key(b) && plan.down().contains(a) == plan.down().contains(b)
    };
    let color = |i: usize| (0..=i).find(|&j| same(i, j)).unwrap_or(i);
    (0..attributes.len()).map(|i| u8::try_from(color(i)).unwrap_or(u8::MAX)).collect()
}
