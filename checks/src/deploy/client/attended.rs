//! A client in the loop of whoever has one.

use super::super::{Cluster, Replicates, VisitStore, visit_store};
use super::{Answer, ClientError, ClientOptions, Lanes, stopped};
use crate::error::Error;
use parthood_protocols::client::Returned;
use parthood_protocols::state_machine::KeyValueCommand;
use parthood_runtime::SharedHistogram;
use parthood_runtime::udp::Handle;
use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The most calls that wait for a free lane.
const WAITING_MAX: usize = 1 << 16;
/// How often calls are looked for whose time is up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far a call is: it waits to be sent, or is sent, or its caller has given up.
type Stage = Arc<AtomicU8>;
const WAITS: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// From waiting to another stage; false if it waits no more.
fn leaves(stage: &Stage, to: u8) -> bool {
    stage.compare_exchange(WAITS, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// A command, and whom to tell.
pub(super) struct Call {
    command: KeyValueCommand,
    caller: Caller,
    stage: Stage,
    deadline: Deadline,
}

/// When a caller is told that there is no answer, if it does not look at the clock itself, and after how long that is.
pub(super) type Deadline = Option<(Instant, Duration)>;

impl Call {
    /// A command whose answer `told` is told, by the thread that takes the client's turns: it must not wait for anything.
    pub(super) fn new(
        command: KeyValueCommand,
        deadline: Deadline,
        told: impl FnOnce(Answer) + Send + 'static,
    ) -> (Self, Ticket) {
        let stage = Stage::default();
        let caller = Caller(Some(Box::new(told)));
        (Self { command, caller, stage: stage.clone(), deadline }, Ticket(stage))
    }

    /// From waiting to sent; false if it waits no more.
    pub(super) fn begins(&self) -> bool {
        leaves(&self.stage, SENT)
    }

    pub(super) fn tell(self, answer: Answer) {
        self.caller.tell(answer);
    }
}

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
        self.tell_now(Err(stopped()));
    }
}

/// A command whose answer somebody is told.
#[derive(Debug, Default)]
pub struct Ticket(Stage);

impl Ticket {
    /// Why there is no answer after so long. A command that has not been sent by then is not sent any more.
    pub fn give_up(self, waited: Duration) -> ClientError {
        if self.withdraw() { ClientError::NotSent(waited) } else { ClientError::Timeout(waited) }
    }

    /// Sees to it that the command is not sent, if it has not been; true if so.
    pub(super) fn withdraw(&self) -> bool {
        leaves(&self.0, GIVEN_UP)
    }
}

/// Who waits for the answer of a lane, since when it is asked for, and until when.
type Callers = HashMap<u32, (Caller, Instant, Deadline)>;

/// Puts calls on lanes as they become free, and gives answers to their callers. A session that the servers have forgotten is
/// followed by another one.
pub(super) struct Attended<D: Replicates> {
    lanes: Lanes<D>,
    cluster: Cluster,
    options: ClientOptions,
    waiting: VecDeque<Call>,
    callers: Callers,
    times: SharedHistogram,
    looked: Instant,
}

impl<D: Replicates> Attended<D> {
    pub(super) fn connect(
        cluster: &Cluster,
        options: ClientOptions,
        times: SharedHistogram,
    ) -> Result<Self, Error> {
        Ok(Self {
            lanes: Lanes::connect(cluster, options.lanes, options.reads)?,
            cluster: cluster.clone(),
            options,
            waiting: VecDeque::new(),
            callers: Callers::new(),
            times,
            looked: Instant::now(),
        })
    }

    /// Wakes a turn of the present session from other threads.
    pub(super) fn handle(&self) -> Handle {
        self.lanes.handle()
    }

    /// Takes a call, which is sent with the next turn.
    pub(super) fn take(&mut self, call: Call) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.retain(|call| call.stage.load(Ordering::Relaxed) == WAITS);
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(call);
        } else {
            call.tell(Err(ClientError::Busy(WAITING_MAX)));
        }
    }

    /// Sends what it can, waits for at most `patience` for something to happen, and tells callers their answers. True when a new
    /// session has begun.
    ///
    /// # Errors
    /// When the socket fails, or there is no other for a new session; all callers have been told.
    pub(super) fn turn(&mut self, patience: Duration) -> Result<bool, Error> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.expire();
        }
        self.send();
        let mut is_lost = false;
        let Self { lanes, callers, times, .. } = self;
        let turned = lanes.turn(patience, |lane, result, _| {
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
        let next = match turned {
            Ok(()) if !is_lost => return Ok(false),
            Ok(()) => Lanes::connect(&self.cluster, self.options.lanes, self.options.reads),
            Err(error) => Err(error),
        };
        let end = next
            .as_ref()
            .err()
            .map_or(ClientError::SessionLost, |error| ClientError::Stopped(error.to_string()));
        for (_, (caller, ..)) in self.callers.drain() {
            caller.tell(Err(end.clone()));
        }
        self.lanes = next?;
        Ok(true)
    }

    /// Puts calls on free lanes, but those whose callers have given up.
    fn send(&mut self) {
        while !self.lanes.free.is_empty()
            && let Some(call) = self.waiting.pop_front()
        {
            if !call.begins() {
                continue;
            }
            match self.lanes.invoke(call.command) {
                Some(lane) => drop(self.callers.insert(lane, (call.caller, Instant::now(), call.deadline))),
                None => call.caller.tell(Err(ClientError::Busy(self.waiting.len()))),
            }
        }
    }

    /// Tells those whose time is up that there is no answer. Their lanes stay taken until there is one.
    fn expire(&mut self) {
        let now = self.looked;
        let is_over =
            |deadline: &Deadline| deadline.filter(|(until, _)| *until <= now).map(|(_, waited)| waited);
        for call in &mut self.waiting {
            if let Some(waited) = is_over(&call.deadline)
                && leaves(&call.stage, GIVEN_UP)
            {
                call.caller.tell_now(Err(ClientError::NotSent(waited)));
            }
        }
        let over = |(lane, (_, _, deadline)): (&u32, &(_, _, Deadline))| Some((*lane, is_over(deadline)?));
        let over: Vec<_> = self.callers.iter().filter_map(over).collect();
        for (lane, waited) in over {
            if let Some((caller, ..)) = self.callers.remove(&lane) {
                caller.tell(Err(ClientError::Timeout(waited)));
            }
        }
    }
}

/// A client without a thread of its own, of whatever protocol: a loop that waits for other things, too, takes its turns.
pub(in crate::deploy) trait Attend {
    /// Takes a command, which is sent with the next turn; the answer is told in some later one.
    fn submit(&mut self, command: KeyValueCommand, told: Box<dyn FnOnce(Answer) + Send>) -> Ticket;

    /// Does what can be done without waiting. True when [`Attend::socket`] is another from now on.
    ///
    /// # Errors
    /// When the client has ended; all callers have been told.
    fn turn(&mut self) -> Result<bool, Error>;

    /// What becomes readable when a turn is due.
    fn socket(&self) -> BorrowedFd<'_>;

    /// How long until a turn is due all the same: not at all when a command can be sent.
    fn patience(&mut self) -> Option<Duration>;
}

impl<D: Replicates> Attend for Attended<D> {
    fn submit(&mut self, command: KeyValueCommand, told: Box<dyn FnOnce(Answer) + Send>) -> Ticket {
        let (call, ticket) = Call::new(command, None, told);
        self.take(call);
        ticket
    }

    fn turn(&mut self) -> Result<bool, Error> {
        Self::turn(self, Duration::ZERO)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.lanes.socket()
    }

    fn patience(&mut self) -> Option<Duration> {
        let sends = !self.waiting.is_empty() && !self.lanes.free.is_empty();
        if sends { Some(Duration::ZERO) } else { self.lanes.until_turn() }
    }
}

/// A client of this cluster for the caller's own loop.
///
/// # Errors
/// When the key or a socket cannot be used.
pub(in crate::deploy) fn attend(
    cluster: &Cluster,
    options: ClientOptions,
    times: SharedHistogram,
) -> Result<Box<dyn Attend>, Error> {
    struct Connect<'a>(&'a Cluster, ClientOptions, SharedHistogram);

    impl VisitStore for Connect<'_> {
        type Output = Result<Box<dyn Attend>, Error>;

        fn visit<D: Replicates>(self) -> Self::Output {
            let Self(cluster, options, times) = self;
            Ok(Box::new(Attended::<D>::connect(cluster, options, times)?))
        }
    }

    visit_store(&cluster.protocol, Connect(cluster, options, times))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::MultiPaxos;
    use parthood_runtime::wire::Key;

    #[test]
    fn a_turn_is_due_as_long_as_a_command_waits_and_a_lane_is_free() {
        let folder = tempfile::tempdir().unwrap();
        Key::generate().unwrap().save(&folder.path().join("cluster.key")).unwrap();
        let text = Cluster::example("multipaxos", 3, 1).unwrap();
        let cluster = Cluster::read(&folder.path().join("cluster.toml"), &text).unwrap();
        let options = ClientOptions { lanes: 1, ..ClientOptions::default() };
        let mut client =
            Attended::<MultiPaxos>::connect(&cluster, options, SharedHistogram::default()).unwrap();
        client.turn(Duration::ZERO).unwrap();
        let commands = [(); 3].map(|()| client.submit(KeyValueCommand::Count, Box::new(|_| ())));
        assert_eq!(client.patience(), Some(Duration::ZERO));
        client.turn(Duration::ZERO).unwrap();
        assert_eq!((client.callers.len(), client.waiting.len()), (1, 2), "two wait for the lane");
        // What an answer does: the lane is free, and nothing else happens.
        client.lanes.free.push(0);
        assert_eq!(client.patience(), Some(Duration::ZERO));
        drop(commands);
    }
}
