//! Clients of a deployed cluster.
//!
//! The client is an actor like any other: it finds the leader, sends again, and opens the session that makes its commands
//! take effect once. Here it gets a socket and an application. [`Lanes`] is the plain form for a program with a loop of
//! its own: one thread, many commands outstanding. [`KvClient`] is the convenient one: a thread in the background, calls
//! from anywhere.
//!
//! **A command without an answer is unknown, not failed.** When a call times out the command may have taken effect, or
//! may yet. Its lane goes on trying and is taken until it hears. A command that was still waiting for a lane is not sent after that,
//! and its caller is told so. What certainly had no effect, or only reads, can be tried again by itself ([`ClientOptions::retries`]).
//!
//! **Whoever has an executor** waits for a future ([`KvClient::asynchronous`]): it needs no runtime, since the client's own
//! thread wakes it.

mod answering;
mod batched;
mod lanes;
mod outputs;
mod watching;

pub use answering::{Answering, Asynchronous};
pub use batched::Batched;
pub use lanes::Lanes;
pub(super) use lanes::turn;
pub use watching::Polled;

use super::{Cluster, Reads, Replicates, VisitStore, visit_store};
use crate::error::Error;
use parthood_protocols::client::Returned;
use parthood_protocols::state_machine::{
    BatchedOutput, Bytes, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _,
};
use parthood_runtime::SharedHistogram;
use parthood_runtime::udp::Handle;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why a command has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No answer in time.
    #[error(
        "no answer within {0:?}: the command may have taken effect or may yet; is a majority of the cluster running?"
    )]
    Timeout(Duration),
    /// It was never sent, as none of those before it was answered in time.
    #[error(
        "not sent within {0:?}, so it has no effect: no answer to earlier commands; is a majority of the cluster running?"
    )]
    NotSent(Duration),
    /// It was not taken, as too many wait to be sent.
    #[error("not taken, so it has no effect: {0} commands wait to be sent; wait for answers")]
    Busy(usize),
    /// The servers have forgotten this client. Later commands are sent in a new session.
    #[error("the servers have forgotten this client's session: whether the command took effect is unknown")]
    SessionLost,
    /// The servers have no room for this client.
    #[error(
        "the servers have no room for so many lanes: ask for fewer, or start a new cluster with more `lanes` in its file"
    )]
    TooManyLanes,
    /// The client's event loop has ended.
    #[error("the client has stopped: {0}")]
    Stopped(String),
    /// The key holds something that the command does not work on.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// Can the command be sent again without being done twice?
    pub fn may_be_retried(&self, command: &KeyValueCommand) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Timeout(_) | Self::SessionLost => KeyValue::is_read(command),
            _ => false,
        }
    }
}

/// How a client works.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How it reads; none as the protocol likes best.
    pub reads: Option<Reads>,
    /// The most commands outstanding.
    pub lanes: u32,
    /// How long a call waits for its answer.
    pub timeout: Duration,
    /// How often a call is tried again that was not sent, or that only reads. One that may have taken effect never is: the
    /// client sends it until it is answered, and its caller decides what to do when time is up.
    pub retries: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { reads: None, lanes: 64, timeout: Duration::from_secs(5), retries: 0 }
    }
}

/// A key-value client for any number of threads.
///
/// ```no_run
/// use parthood::deploy::{Batched, ClientOptions, Cluster, KvClient};
/// use std::time::Duration;
///
/// let cluster = Cluster::load("cluster/cluster.toml".as_ref())?;
/// let client = KvClient::connect(&cluster, ClientOptions { retries: 2, ..ClientOptions::default() })?;
/// client.put("colour", "blue")?;
/// assert_eq!(client.get("colour")?.as_deref(), Some(&b"blue"[..]));
/// // All of these together, or none:
/// client.batch(Batched::new().put("shape", "round").increment("changes", 1))?;
/// // Every value that a poll finds changed, the present one first:
/// for value in client.watch_by_polling("colour", Duration::from_millis(200)).take(2) {
///     println!("{:?}", value?);
/// }
/// // The same in a future, on whatever executor there is:
/// let changes = async { client.asynchronous().increment("changes", 1).await };
/// # drop(changes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KvClient {
    calls: Option<Sender<Call>>,
    /// Of the present session.
    handle: Arc<Mutex<Handle>>,
    timeout: Duration,
    retries: u32,
    times: SharedHistogram,
    thread: Option<JoinHandle<()>>,
}

type Answer = Result<KeyValueOutput, ClientError>;

/// How far a call is: it waits to be sent, or is sent, or its caller has given up.
type Stage = Arc<AtomicU8>;
const WAITS: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// From waiting to another stage; false if it waits no more.
fn leaves(stage: &Stage, to: u8) -> bool {
    stage.compare_exchange(WAITS, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

struct Call {
    command: KeyValueCommand,
    caller: Caller,
    stage: Stage,
    /// When its caller is told that there is no answer, if it does not look at the clock itself, and after how long that is.
    deadline: Deadline,
}

type Deadline = Option<(Instant, Duration)>;

/// Who is told the answer; that there is none if it is dropped.
struct Caller(Option<Box<dyn FnOnce(Answer) + Send>>);

impl Caller {
    fn tell(mut self, answer: Answer) {
        self.tell_now(answer);
    }

    fn tell_now(&mut self, answer: Answer) {
        if let Some(told) = self.0.take() {
            told(answer);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(stopped()));
        }
    }
}

/// A command whose answer somebody is told.
#[derive(Debug)]
pub struct Ticket(Stage);

impl Ticket {
    /// Why there is no answer after so long. A command that has not been sent by then is not sent any more.
    pub fn give_up(self, waited: Duration) -> ClientError {
        if leaves(&self.0, GIVEN_UP) { ClientError::NotSent(waited) } else { ClientError::Timeout(waited) }
    }
}

/// Who waits for the answer of a lane, since when it is asked for, and until when.
type Callers = HashMap<u32, (Caller, Instant, Deadline)>;

/// A command that is under way.
#[derive(Debug)]
pub struct Pending {
    answer: Receiver<Answer>,
    ticket: Ticket,
    timeout: Duration,
}

impl Pending {
    /// Waits for the answer. A command that has not been sent by then is not sent any more.
    ///
    /// # Errors
    /// When there is none.
    pub fn wait(self) -> Answer {
        match self.answer.recv_timeout(self.timeout) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(self.ticket.give_up(self.timeout)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(stopped()),
        }
    }
}

fn stopped() -> ClientError {
    ClientError::Stopped("its event loop has ended".into())
}

impl KvClient {
    /// A client of this cluster. It finds the leader with its first command.
    ///
    /// # Errors
    /// When the key or a socket cannot be used.
    pub fn connect(cluster: &Cluster, options: ClientOptions) -> Result<Self, Error> {
        Self::measured(cluster, options, SharedHistogram::default())
    }

    /// The same, and it adds to this how long its commands take.
    ///
    /// # Errors
    /// As [`KvClient::connect`].
    pub fn measured(
        cluster: &Cluster,
        options: ClientOptions,
        times: SharedHistogram,
    ) -> Result<Self, Error> {
        visit_store(&cluster.protocol, Connect { cluster, options, times })?
    }

    fn start<D: Replicates>(
        cluster: &Cluster,
        options: ClientOptions,
        times: SharedHistogram,
    ) -> Result<Self, Error> {
        let (calls, incoming) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let cluster = cluster.clone();
        let connect = move || Lanes::<D>::connect(&cluster, options.lanes, options.reads);
        let measured = times.clone();
        let thread = std::thread::spawn(move || match connect() {
            Ok(lanes) => {
                let handle = Arc::new(Mutex::new(lanes.handle()));
                let _ = ready.send(Ok(handle.clone()));
                serve(lanes, &connect, &handle, &incoming, &measured);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        });
        let handle = started
            .recv()
            .unwrap_or_else(|_| Err(Error::Environment("the client's thread has panicked".into())))?;
        let ClientOptions { timeout, retries, .. } = options;
        Ok(Self { calls: Some(calls), handle, timeout, retries, times, thread: Some(thread) })
    }

    /// How long commands took from when they were sent to their answers.
    pub fn times(&self) -> SharedHistogram {
        self.times.clone()
    }

    /// Sends a command without waiting for its answer. Commands of one client overlap: their order is not theirs.
    pub fn submit(&self, command: KeyValueCommand) -> Pending {
        let (sender, answer) = mpsc::channel();
        // A caller that has given up does not listen.
        let ticket = self.submit_with(command, move |answer| drop(sender.send(answer)));
        Pending { answer, ticket, timeout: self.timeout }
    }

    /// Sends a command without waiting for its answer, which the client's own thread tells: `told` must not wait for anything.
    pub fn submit_with(
        &self,
        command: KeyValueCommand,
        told: impl FnOnce(Result<KeyValueOutput, ClientError>) + Send + 'static,
    ) -> Ticket {
        let stage = Stage::default();
        let caller = Caller(Some(Box::new(told)));
        self.call(Call { command, caller, stage: stage.clone(), deadline: None });
        Ticket(stage)
    }

    fn call(&self, call: Call) {
        if let Some(calls) = &self.calls {
            // If the event loop has ended, the caller is told so.
            let _ = calls.send(call);
            present(&self.handle).wake();
        }
    }

    /// A view of this client whose calls are futures.
    pub fn asynchronous(&self) -> Asynchronous<'_> {
        Asynchronous::new(self)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When there is none; whether the command took effect is then unknown, unless [`ClientError`] says otherwise.
    pub fn execute(&self, command: KeyValueCommand) -> Answer {
        for _ in 0..self.retries {
            match self.submit(command.clone()).wait() {
                Err(error) if error.may_be_retried(&command) => {}
                answer => return answer,
            }
        }
        self.submit(command).wait()
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When there is no answer, or key or value is too large.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), ClientError> {
        outputs::done(self.execute(outputs::put(key, value))?)
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, ClientError> {
        outputs::value(self.execute(KeyValueCommand::Get(bytes(key)))?)
    }

    /// Removes a key; true if it existed.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, ClientError> {
        outputs::deleted(self.execute(KeyValueCommand::Delete(bytes(key)))?)
    }

    /// Sets a key if it holds `expected` (none: if it has no value); otherwise tells what it holds.
    ///
    /// # Errors
    /// When there is no answer, or key or value is too large.
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<Result<(), Option<Vec<u8>>>, ClientError> {
        outputs::swapped(self.execute(outputs::compare_and_swap(key, expected, new))?)
    }

    /// Adds to the number that a key holds and returns the sum.
    ///
    /// # Errors
    /// When there is no answer, or the key holds no number.
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64, ClientError> {
        outputs::number(self.execute(KeyValueCommand::Increment(bytes(key), by))?)
    }

    /// Does all of these, one after the other with nothing between, and returns what came of each.
    ///
    /// # Errors
    /// When there is no answer, or the batch or its outputs are too large: then none was done.
    pub fn batch(&self, batch: Batched) -> Result<Vec<BatchedOutput>, ClientError> {
        outputs::batch(self.execute(batch.into_command())?)
    }

    /// Reads a key so often, and tells its present value and then each one that a read finds changed. What it held between two
    /// reads is not seen. What a read promises is what this client's reads do.
    pub fn watch_by_polling(&self, key: impl AsRef<[u8]>, every: Duration) -> Polled<'_> {
        Polled::new(self, bytes(key), every)
    }
}

struct Connect<'a> {
    cluster: &'a Cluster,
    options: ClientOptions,
    times: SharedHistogram,
}

impl VisitStore for Connect<'_> {
    type Output = Result<KvClient, Error>;

    fn visit<D: Replicates>(self) -> Result<KvClient, Error> {
        KvClient::start::<D>(self.cluster, self.options, self.times)
    }
}

impl Drop for KvClient {
    fn drop(&mut self) {
        drop(self.calls.take());
        present(&self.handle).stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the event loop was seen as missing answers.
            let _ = thread.join();
        }
    }
}

fn bytes(bytes: impl AsRef<[u8]>) -> Bytes {
    Bytes::from(bytes.as_ref())
}

/// The most calls that wait for a free lane.
const WAITING_MAX: usize = 1 << 16;

/// Of the present session: a lock that nobody holds while anything can panic.
fn present(handle: &Mutex<Handle>) -> MutexGuard<'_, Handle> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event loop of a [`KvClient`]: puts calls on lanes as they become free, and gives answers to their callers. A session
/// that the servers have forgotten is followed by another one.
fn serve<D: Replicates>(
    mut lanes: Lanes<D>,
    connect: &dyn Fn() -> Result<Lanes<D>, Error>,
    handle: &Mutex<Handle>,
    incoming: &Receiver<Call>,
    times: &SharedHistogram,
) {
    /// How long a turn waits if nothing wakes it.
    const PATIENCE: Duration = Duration::from_millis(200);
    /// How often calls are looked for whose time is up.
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let mut looked = Instant::now();
    let mut waiting: VecDeque<Call> = VecDeque::new();
    let mut callers: Callers = HashMap::new();
    while !present(handle).is_stopping() {
        for call in incoming.try_iter() {
            if waiting.len() == WAITING_MAX {
                waiting.retain(|call| call.stage.load(Ordering::Relaxed) == WAITS);
            }
            if waiting.len() < WAITING_MAX {
                waiting.push_back(call);
            } else {
                call.caller.tell(Err(ClientError::Busy(WAITING_MAX)));
            }
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            expire(&mut waiting, &mut callers, looked);
        }
        send(&mut lanes, &mut waiting, &mut callers);
        let mut is_lost = false;
        let turn = lanes.turn(PATIENCE, |lane, result, _| {
            is_lost |= result == Returned::SessionLost;
            let Some((caller, since, _)) = callers.remove(&lane) else { return };
            times.observe(since.elapsed());
            caller.tell(match result {
                Returned::Output(output) => Ok(output),
                Returned::SessionLost => Err(ClientError::SessionLost),
                Returned::TooManyLanes => Err(ClientError::TooManyLanes),
                Returned::LaneTaken => Err(ClientError::Stopped("a lane was used twice".into())),
            });
        });
        let next = if is_lost { turn.and_then(|()| connect().map(Some)) } else { turn.map(|()| None) };
        let end = match next {
            Ok(None) => continue,
            Ok(Some(_)) => ClientError::SessionLost,
            Err(ref error) => ClientError::Stopped(error.to_string()),
        };
        for (_, (caller, ..)) in callers.drain() {
            caller.tell(Err(end.clone()));
        }
        let Ok(Some(next)) = next else { break };
        let mut present = present(handle);
        if present.is_stopping() {
            break;
        }
        lanes = next;
        *present = lanes.handle();
    }
}

/// Tells those whose time is up that there is no answer. Their lanes stay taken until there is one.
fn expire(waiting: &mut VecDeque<Call>, callers: &mut Callers, now: Instant) {
    let is_over = |deadline: &Deadline| deadline.filter(|(until, _)| *until <= now).map(|(_, waited)| waited);
    for call in waiting.iter_mut() {
        if let Some(waited) = is_over(&call.deadline)
            && leaves(&call.stage, GIVEN_UP)
        {
            call.caller.tell_now(Err(ClientError::NotSent(waited)));
        }
    }
    let over: Vec<_> =
        callers.iter().filter_map(|(lane, (_, _, deadline))| Some((*lane, is_over(deadline)?))).collect();
    for (lane, waited) in over {
        if let Some((caller, ..)) = callers.remove(&lane) {
            caller.tell(Err(ClientError::Timeout(waited)));
        }
    }
}

/// Puts calls on free lanes, but those whose callers have given up.
fn send<D: Replicates>(lanes: &mut Lanes<D>, waiting: &mut VecDeque<Call>, callers: &mut Callers) {
    while !lanes.free.is_empty()
        && let Some(call) = waiting.pop_front()
    {
        if !leaves(&call.stage, SENT) {
            continue;
        }
        match lanes.invoke(call.command) {
            Some(lane) => drop(callers.insert(lane, (call.caller, Instant::now(), call.deadline))),
            None => call.caller.tell(Err(ClientError::Busy(waiting.len()))),
        }
    }
}
