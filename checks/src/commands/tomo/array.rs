//! `parthood tomo run --ledger`: the blocks of a plan at any number of machines, their ledger in a running cluster.
//!
//! The coordinator is the one that is model-checked (`tile_ledger`), and its storage is a key of the cluster. Whoever has
//! a message for it reads the books, lets the coordinator handle the message, and saves by compare-and-swap before it
//! believes an answer; if somebody else was faster, it begins again. So the coordinator is at no place, and no machine's
//! death loses it, as long as the cluster lives. A repeated message is harmless, so a call without an answer is repeated.
//!
//! A process that works counts up a key of its own. Who waits watches the keys of those that hold a lease, and takes one
//! that stands still for lost. Both clocks are that process's, and nothing but speed depends on them.

use super::RunArgs;
use super::words::duration;
use crate::deploy::{ClientError, ClientOptions, Cluster, KvClient};
use crate::error::Error;
use parthood_protocols::faults::Correct;
use parthood_protocols::tile_ledger::{Books, Config, Coordinator, Msg, Node, State, Timer, coordinator};
use parthood_tomography::plan::Plan;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How many blocks the books of one key can hold: an entry takes at most 48 of its 16 KiB.
const BLOCKS_MAX: usize = 320;
/// How often the cluster is asked before it is taken for gone.
const ATTEMPTS: usize = 10;
/// How long a call waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process without a task waits before it asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// The ledger of a plan, as this process sees it.
struct Shared {
    client: KvClient,
    key: String,
    node: Node,
    me: Id,
    patience: Duration,
}

/// What stood still, and since when.
type Watched = BTreeMap<u64, (u32, Option<Vec<u8>>, Instant)>;

/// Does blocks of a plan until all are done: `work(block)` writes one and gives its file.
pub(super) fn work_off(
    plan: &Plan,
    args: &RunArgs,
    cluster: &Path,
    mut work: impl FnMut(usize) -> Result<PathBuf, Error>,
) -> Result<usize, Error> {
    let shared = Shared::join(plan, args, cluster)?;
    let (mut told, mut done, mut watched) = (Msg::Ready, 0, Watched::new());
    loop {
        match shared.tell(told)? {
            Some(Msg::Work(task)) => {
                let block = usize::try_from(task.lease.task).unwrap_or(usize::MAX);
                let hash = shared.beating(|| hash_of(&work(block)?))?;
                told = Msg::Done { task, hash };
                done += 1;
                watched.clear();
            }
            Some(Msg::Finished) => return Ok(done),
            Some(Msg::Diverged { task, .. }) => {
                return Err(parthood_tomography::Error::Diverged { task }.into());
            }
            Some(Msg::Ready | Msg::Done { .. }) | None => {
                told = Msg::Ready;
                for (lost, since) in shared.lost(&mut watched)? {
                    let since = duration(since.as_secs_f64());
                    eprintln!("parthood: worker {lost} has been silent for {since}; its block is free again");
                    shared.expire(lost)?;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The first eight bytes of a file's BLAKE3 hash.
fn hash_of(file: &Path) -> Result<u64, Error> {
    let hash = parthood_tomography::io::hash(file)?;
    Ok(hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

impl Shared {
    /// Joins the workers of a plan under a number of one's own.
    fn join(plan: &Plan, args: &RunArgs, cluster: &Path) -> Result<Self, Error> {
        let blocks = plan.blocks.len();
        if blocks > BLOCKS_MAX {
            let text =
                format!("--ledger keeps up to {BLOCKS_MAX} blocks, this plan has {blocks}; plan larger ones");
            return Err(Error::Usage(text));
        }
        let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
        let client = KvClient::connect(&Cluster::load(cluster)?, options)?;
        let key = format!("tomo/{}", &plan.hash()?[..32]);
        let number = answered(|| client.increment(format!("{key}/workers"), 1))?;
        let never = Duration::ZERO..Duration::ZERO;
        let config = Config {
            tasks: blocks as u64,
            iterations: 1,
            expire_after: never.clone(),
            retry_after: never,
            faults: Correct,
        };
        let node = Node::Coordinator(Coordinator { config: Arc::new(config) });
        let me = Id::from(usize::try_from(number).unwrap_or(usize::MAX));
        Ok(Self { client, key, node, me, patience: args.patience })
    }

    fn beat_key(&self, worker: u64) -> String {
        format!("{}/beat/{worker}", self.key)
    }

    /// The books, and the bytes that they were read from.
    fn books(&self) -> Result<(Option<Books>, Option<Vec<u8>>), Error> {
        let found = answered(|| self.client.get(&self.key))?;
        let books = found.as_deref().map(serde_json::from_slice).transpose().map_err(|error| {
            Error::Environment(format!("the key {} of the cluster holds no ledger: {error}", self.key))
        })?;
        Ok((books, found))
    }

    /// Lets the coordinator take a step, and gives what it has to say to this process.
    fn step(&self, input: impl Fn(&Node, &mut Cow<'_, State>, &mut Out<Node>)) -> Result<Option<Msg>, Error> {
        loop {
            let (books, found) = self.books()?;
            // Leases end when somebody says so, not by the coordinator's clock: nobody is the coordinator for long.
            let mut state = Cow::Owned(self.node.on_start(coordinator(), &books, &mut Out::new()));
            let mut out = Out::new();
            input(&self.node, &mut state, &mut out);
            let (mut saved, mut answer) = (None, None);
            for command in out {
                match command {
                    Command::Save(books) => saved = Some(books),
                    Command::Send(dst, msg) if dst == self.me => answer = Some(msg),
                    _ => {}
                }
            }
            let Some(saved) = saved.filter(|saved| Some(saved) != books.as_ref()) else { return Ok(answer) };
            let text = serde_json::to_vec(&saved).map_err(|error| Error::Environment(error.to_string()))?;
            match self.client.compare_and_swap(&self.key, found.as_deref(), text) {
                Ok(Ok(())) => return Ok(answer),
                // Somebody else was faster, or nobody knows: begin again with what stands there now.
                Ok(Err(_))
                | Err(ClientError::Timeout(_) | ClientError::NotSent(_) | ClientError::SessionLost) => {}
                Err(error) => return Err(gone(&error)),
            }
        }
    }

    /// Tells the coordinator something.
    fn tell(&self, msg: Msg) -> Result<Option<Msg>, Error> {
        self.step(|node, state, out| node.on_msg(coordinator(), state, self.me, msg, out))
    }

    /// Tells the coordinator that a worker is lost.
    fn expire(&self, lost: u64) -> Result<(), Error> {
        let timer = Timer::Expire(Id::from(usize::try_from(lost).unwrap_or(usize::MAX)));
        self.step(|node, state, out| node.on_timeout(coordinator(), state, &timer, out)).map(drop)
    }

    /// Does something while a thread counts up this process's key.
    fn beating<R>(&self, work: impl FnOnce() -> R) -> R {
        let (stop, stopped) = channel::<()>();
        let pause = self.patience / 5;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    // A beat that is not heard is as good as none: the next may be.
                    let _ = self.client.increment(self.beat_key(usize::from(self.me) as u64), 1);
                }
            });
            let result = work();
            drop(stop);
            result
        })
    }

    /// Workers that hold a lease and have stood still for longer than the patience.
    fn lost(&self, watched: &mut Watched) -> Result<Vec<(u64, Duration)>, Error> {
        let (books, _) = self.books()?;
        let held: BTreeMap<u64, u32> = books
            .iter()
            .flat_map(|books| books.ledger.held())
            .map(|(worker, lease)| (worker, lease.epoch))
            .collect();
        watched.retain(|worker, _| held.contains_key(worker));
        let mut lost = Vec::new();
        for (worker, epoch) in held {
            let beat = answered(|| self.client.get(self.beat_key(worker)))?;
            match watched.get(&worker) {
                Some((known, before, since)) if (*known, before) == (epoch, &beat) => {
                    if since.elapsed() > self.patience {
                        lost.push((worker, since.elapsed()));
                    }
                }
                _ => drop(watched.insert(worker, (epoch, beat, Instant::now()))),
            }
        }
        Ok(lost)
    }
}

/// Asks until there is an answer, for what may be asked twice.
fn answered<R>(ask: impl Fn() -> Result<R, ClientError>) -> Result<R, Error> {
    let mut last = ask();
    for _ in 1..ATTEMPTS {
        match last {
            Err(ClientError::Timeout(_) | ClientError::NotSent(_) | ClientError::SessionLost) => last = ask(),
            _ => break,
        }
    }
    last.map_err(|error| gone(&error))
}

fn gone(error: &ClientError) -> Error {
    Error::Environment(format!(
        "the cluster that keeps the ledger: {error}; what is done stays done, run the same command again"
    ))
}
