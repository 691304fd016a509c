//! A load on a deployed cluster: a closed loop with a number of commands outstanding, its latencies, and a check that
//! everything it was told is what its reads promise.
//!
//! Keys carry the seed of the run, so that a store which is not empty makes no difference, and every written value is
//! used once, so that a wrong answer cannot look right by accident.

mod judge;

pub use judge::{History, HistoryVerdict, LogHistory, Place, judge};

use crate::deploy::{Cluster, Lanes, Reads, Replicates, VisitStore, visit_store};
use crate::error::Error;
use parthood_models::linearizability::{Operation, Return};
use parthood_protocols::client::Returned;
use parthood_protocols::state_machine::{
    Bytes, KeyValue, KeyValueCommand, MAX_VALUE_BYTES, StateMachine as _,
};
use std::time::{Duration, Instant};

/// A load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Commands outstanding at any time.
    pub outstanding: u32,
    /// How long commands are issued.
    pub duration: Duration,
    /// How many commands are issued at most.
    pub operations_max: u64,
    /// The share of reads, from 0 to 1.
    pub reads: f64,
    /// How they are read; none as the protocol likes best.
    pub consistency: Option<Reads>,
    /// How many keys there are.
    pub keys: u32,
    /// How uneven they are used: key `i` in proportion to `1 / i^skew`; 0 is even.
    pub skew: f64,
    /// The bytes of a value.
    pub value_bytes: usize,
    /// Determines keys, values and order.
    pub seed: u64,
    /// Record the history and check it.
    pub check: bool,
    /// Give up when nothing is answered for so long.
    pub patience: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            outstanding: 64,
            duration: Duration::from_secs(10),
            operations_max: u64::MAX,
            reads: 0.5,
            consistency: None,
            keys: 1_000,
            skew: 0.0,
            value_bytes: 16,
            seed: 0,
            check: false,
            patience: Duration::from_secs(10),
        }
    }
}

impl Load {
    /// Do reads promise less than linearizability?
    pub fn reads_are_weak(&self) -> bool {
        matches!(self.consistency, Some(Reads::Sequential | Reads::Eventual))
    }

    /// Refuses values that the store does not take: to have them refused is quick, and would be measured.
    fn fits_a_store(&self) -> Result<(), Error> {
        if self.value_bytes <= MAX_VALUE_BYTES {
            return Ok(());
        }
        let bytes = self.value_bytes;
        Err(Error::Usage(format!("values of {bytes} bytes: a value has at most {MAX_VALUE_BYTES}")))
    }
}

/// What became of a load.
#[derive(Debug)]
pub struct Measured {
    /// Commands answered.
    pub answered: u64,
    /// Commands without an answer: they may have taken effect.
    pub unknown: u64,
    /// From the first command to the last answer.
    pub took: Duration,
    /// Times from command to answer.
    pub latencies: Latencies,
    /// What was asked and answered, if it was to be checked. Times are nanoseconds since `started`.
    pub history: History,
    /// The same by the clock of the log, if reads promise less than linearizability.
    pub log_history: LogHistory,
    /// When the first command was issued.
    pub started: Instant,
    /// What the check found, and how long it took.
    pub verdict: Option<(HistoryVerdict, Duration)>,
}

/// Times from command to answer.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// The time that the given share of answers did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among fewer than 2^52 answers"
        )]
        let rank = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        Duration::from_nanos(self.0.get(rank).copied().unwrap_or(0))
    }
}

impl Measured {
    /// Commands answered per second.
    pub fn per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "fewer than 2^52 commands")]
        let answered = self.answered as f64;
        answered / self.took.as_secs_f64().max(1e-9)
    }
}

/// Puts a load on a cluster.
///
/// # Errors
/// When the cluster cannot be reached, or answers nothing for too long.
pub fn run(cluster: &Cluster, load: &Load) -> Result<Measured, Error> {
    load.fits_a_store()?;
    visit_store(&cluster.protocol, Run { cluster, load })?
}

struct Run<'a> {
    cluster: &'a Cluster,
    load: &'a Load,
}

impl VisitStore for Run<'_> {
    type Output = Result<Measured, Error>;

    fn visit<D: Replicates>(self) -> Result<Measured, Error> {
        Bench::<D>::new(self.cluster, self.load)?.run()
    }
}

struct Bench<'a, D: Replicates> {
    load: &'a Load,
    lanes: Lanes<D>,
    workload: Workload,
    /// What each lane waits for.
    open: Vec<Option<Open>>,
    /// Some answer showed the slots below.
    shown: u64,
    started: Instant,
    last_answer: Instant,
    issued: u64,
    latencies: Vec<u64>,
    unknown: u64,
    history: History,
    log_history: LogHistory,
    failure: Option<Error>,
}

/// A command that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: Instant,
    /// Where it stands in the history, and in that by the clock of the log.
    recorded: Option<(usize, Option<Place>)>,
}

impl<'a, D: Replicates> Bench<'a, D> {
    fn new(cluster: &Cluster, load: &'a Load) -> Result<Self, Error> {
        let now = Instant::now();
        Ok(Self {
            lanes: if load.check && load.reads_are_weak() {
                Lanes::recording(cluster, load.outstanding, load.consistency)?
            } else {
                Lanes::connect(cluster, load.outstanding, load.consistency)?
            },
            workload: Workload::new(load),
            open: vec![None; load.outstanding as usize],
            shown: 0,
            started: now,
            last_answer: now,
            issued: 0,
            latencies: Vec::new(),
            unknown: 0,
            history: Vec::new(),
            log_history: LogHistory::default(),
            failure: None,
            load,
        })
    }

    fn run(mut self) -> Result<Measured, Error> {
        /// How long a turn waits if nothing wakes it.
        const PATIENCE: Duration = Duration::from_millis(50);
        loop {
            let over =
                self.started.elapsed() >= self.load.duration || self.issued >= self.load.operations_max;
            if !over {
                self.issue();
            }
            if over && self.lanes.is_idle(self.load.outstanding) {
                break;
            }
            self.turn(PATIENCE)?;
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.last_answer.elapsed() > self.load.patience {
                if self.latencies.is_empty() {
                    let patience = self.load.patience.as_secs_f64();
                    return Err(Error::Environment(format!(
                        "no answer for {patience} s: is a majority of the cluster running?"
                    )));
                }
                break;
            }
        }
        Ok(self.finish())
    }

    fn issue(&mut self) {
        while self.issued < self.load.operations_max {
            let command = self.workload.next();
            let now = Instant::now();
            let recorded = self.load.check.then(|| command.clone());
            let Some(lane) = self.lanes.invoke(command) else { break };
            self.issued += 1;
            let recorded = recorded.map(|op| self.record(lane, op, now));
            self.open[lane as usize] = Some(Open { since: now, recorded });
        }
    }

    /// Notes a question in the histories.
    fn record(&mut self, lane: u32, op: KeyValueCommand, now: Instant) -> (usize, Option<Place>) {
        let weak = self.load.reads_are_weak();
        let place = weak.then(|| self.log_history.asked(lane.into(), op.clone(), self.shown));
        let invoked = nanos(now - self.started);
        self.history.push(Operation { client: lane.into(), op, invoked, returned: None });
        (self.history.len() - 1, place)
    }

    fn turn(&mut self, patience: Duration) -> Result<(), Error> {
        let Self { lanes, open, started, last_answer, latencies, unknown, failure, .. } = self;
        let (history, log_history, shown) = (&mut self.history, &mut self.log_history, &mut self.shown);
        let mut now = None;
        lanes.turn(patience, |lane, result, shows| {
            let now = *now.get_or_insert_with(Instant::now);
            let Some(Open { since, recorded }) = open[lane as usize].take() else { return };
            match result {
                Returned::Output(output) => {
                    *last_answer = now;
                    latencies.push(nanos(now - since));
                    if let (Some((_, Some(place))), Some(shows)) = (recorded, shows) {
                        *shown = shows.max(*shown);
                        log_history.answered(place, output.clone(), shows);
                    }
                    if let Some((index, _)) = recorded {
                        history[index].returned = Some(Return { at: nanos(now - *started), output });
                    }
                }
                Returned::TooManyLanes => {
                    *failure = Some(Error::Usage(
                        "the servers have no room for so many lanes: ask for fewer outstanding, or raise `lanes`".into(),
                    ));
                }
                Returned::SessionLost | Returned::LaneTaken => {
                    *unknown += 1;
                    *failure = Some(Error::Environment("the servers have forgotten this client's session".into()));
                }
            }
        })
    }

    fn judge(&self) -> HistoryVerdict {
        if !self.load.reads_are_weak() {
            return judge(&self.history);
        }
        let writes = self.history.iter().filter(|operation| !KeyValue::is_read(&operation.op));
        match judge(&writes.cloned().collect()) {
            HistoryVerdict::Right => self.log_history.judge(self.load.consistency == Some(Reads::Sequential)),
            verdict => verdict,
        }
    }

    fn finish(mut self) -> Measured {
        let took = self.last_answer - self.started;
        self.unknown += self.open.iter().flatten().count() as u64;
        self.latencies.sort_unstable();
        let verdict = self.load.check.then(|| {
            let started = Instant::now();
            (self.judge(), started.elapsed())
        });
        Measured {
            answered: self.latencies.len() as u64,
            unknown: self.unknown,
            took,
            latencies: Latencies(self.latencies),
            history: self.history,
            log_history: self.log_history,
            started: self.started,
            verdict,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Commands, one after the other; the same for the same load.
struct Workload {
    random: u64,
    reads: f64,
    /// The share of the keys up to each, for uneven use.
    cumulative: Vec<f64>,
    keys: u32,
    value_bytes: usize,
    seed: u64,
    written: u64,
    check: bool,
}

impl Workload {
    fn new(load: &Load) -> Self {
        let mut cumulative = Vec::new();
        if load.skew > 0.0 {
            let mut sum = 0.0;
            for key in 1..=load.keys {
                sum += f64::from(key).powf(-load.skew);
                cumulative.push(sum);
            }
            for share in &mut cumulative {
                *share /= sum;
            }
        }
        Self {
            random: load.seed ^ 0x9e37_79b9_7f4a_7c15,
            reads: load.reads,
            cumulative,
            keys: load.keys.max(1),
            value_bytes: load.value_bytes,
            seed: load.seed,
            written: 0,
            check: load.check,
        }
    }

    /// A number from 0 to 1: splitmix64.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }

    fn key(&mut self) -> Bytes {
        let at = self.fraction();
        let number = if self.cumulative.is_empty() {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "below the number of keys"
            )]
            let number = (at * f64::from(self.keys)) as usize;
            number
        } else {
            self.cumulative.partition_point(|share| *share < at).min(self.cumulative.len() - 1)
        };
        Bytes::from(&format!("{:x}.{number}", self.seed))
    }

    fn value(&mut self) -> Bytes {
        self.written += 1;
        let width = self.value_bytes;
        Bytes::from(&format!("{:0>width$}", self.written))
    }

    fn next(&mut self) -> KeyValueCommand {
        let key = self.key();
        if self.fraction() < self.reads {
            return KeyValueCommand::Get(key);
        }
        // Where the history is checked, one write in five is one whose answer says something.
        let kind = if self.check { self.fraction() } else { 1.0 };
        match kind {
            ..0.1 => KeyValueCommand::Increment(key, 1),
            0.1..0.15 => KeyValueCommand::Delete(key),
            0.15..0.2 => KeyValueCommand::CompareAndSwap { key, expected: None, new: self.value() },
            _ => KeyValueCommand::Put(key, self.value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let latencies = Latencies((1..=1_000).collect());
        let nanos = |share| latencies.percentile(share).as_nanos();
        assert_eq!(
            (nanos(0.0), nanos(0.5), nanos(0.99), nanos(0.999), nanos(1.0)),
            (1, 500, 990, 999, 1_000)
        );
        assert_eq!(Latencies::default().percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn values_that_a_store_does_not_take_are_not_measured() {
        let cluster = Cluster::example("unreplicated", 1, 1).unwrap();
        let cluster = Cluster::read("cluster.toml".as_ref(), &cluster).unwrap();
        for value_bytes in [MAX_VALUE_BYTES + 1, usize::MAX] {
            let load = Load { value_bytes, ..Load::default() };
            let message = run(&cluster, &load).unwrap_err().to_string();
            assert!(message.contains("a value has at most 16384"), "{message}");
        }
        assert!(Load { value_bytes: MAX_VALUE_BYTES, ..Load::default() }.fits_a_store().is_ok());
    }

    #[test]
    fn a_workload_is_determined_by_its_seed_and_has_its_shares() {
        let load = Load { skew: 0.99, keys: 100, reads: 0.3, seed: 7, ..Load::default() };
        let commands = |load: &Load| {
            let mut workload = Workload::new(load);
            (0..10_000).map(|_| workload.next()).collect::<Vec<_>>()
        };
        let all = commands(&load);
        assert_eq!(all, commands(&load));
        assert_ne!(all, commands(&Load { seed: 8, ..load.clone() }));
        let reads = all.iter().filter(|command| matches!(command, KeyValueCommand::Get(_))).count();
        assert!((2_800..3_200).contains(&reads), "{reads}");
        let first = all.iter().filter(|command| command.key() == Some(&Bytes::from("7.0"))).count();
        assert!((1_700..2_200).contains(&first), "the first of 100 keys has a share of about 0.19: {first}");
    }
}
