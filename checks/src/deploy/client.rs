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
mod attended;
mod batched;
mod lanes;
mod outputs;
mod watching;

pub use answering::{Answering, Asynchronous};
pub use attended::Ticket;
pub(super) use attended::{Attend, attend};
use attended::{Attended, Call};
pub use batched::Batched;
pub use lanes::Lanes;
pub(super) use lanes::turn;
pub use watching::Polled;

use super::{Cluster, Reads, Replicates, VisitStore, visit_store};
use crate::error::Error;
use parthood_protocols::state_machine::{
    BatchedOutput, Bytes, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _,
};
use parthood_runtime::SharedHistogram;
use parthood_runtime::udp::Handle;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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
        visit_store(&cluster.protocol, Connect { cluster, options })?
    }

    fn start<D: Replicates>(cluster: &Cluster, options: ClientOptions) -> Result<Self, Error> {
        let times = SharedHistogram::default();
        let (calls, incoming) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let cluster = cluster.clone();
        let measured = times.clone();
        let thread = std::thread::spawn(move || match Attended::<D>::connect(&cluster, options, measured) {
            Ok(attended) => {
                let handle = Arc::new(Mutex::new(attended.handle()));
                let _ = ready.send(Ok(handle.clone()));
                serve(attended, &handle, &incoming);
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
        let (call, ticket) = Call::new(command, None, told);
        self.call(call);
        ticket
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
}

impl VisitStore for Connect<'_> {
    type Output = Result<KvClient, Error>;

    fn visit<D: Replicates>(self) -> Result<KvClient, Error> {
        KvClient::start::<D>(self.cluster, self.options)
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

/// Of the present session: a lock that nobody holds while anything can panic.
fn present(handle: &Mutex<Handle>) -> MutexGuard<'_, Handle> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event loop of a [`KvClient`].
fn serve<D: Replicates>(mut attended: Attended<D>, handle: &Mutex<Handle>, incoming: &Receiver<Call>) {
    /// How long a turn waits if nothing wakes it.
    const PATIENCE: Duration = Duration::from_millis(200);
    while !present(handle).is_stopping() {
        for call in incoming.try_iter() {
            attended.take(call);
        }
        match attended.turn(PATIENCE) {
            Ok(false) => {}
            Ok(true) => {
                let mut present = present(handle);
                if present.is_stopping() {
                    break;
                }
                *present = attended.handle();
            }
            // Everybody has been told.
            Err(_) => break,
        }
    }
}
