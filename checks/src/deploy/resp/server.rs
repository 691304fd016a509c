//! The event loop of the gateway.

mod asking;
#[cfg(test)]
mod tests;

use super::GatewayOptions;
use super::session::Session;
use crate::deploy::client::Attend;
use crate::deploy::{ClientError, Reads, Ticket};
use crate::error::Error;
use asking::Flights;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parthood_protocols::state_machine::{BatchedOutput, KeyValueCommand, KeyValueOutput};
use parthood_resp::{Connection, Context, Cursors, Query, Reply, Step};
use parthood_runtime::wire::entropy;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// Whom an event is about: the listener, the stopper, a client of the cluster, or a connection with a larger number.
const LISTENER: u64 = 0;
const STOPPER: u64 = 1;
const CLIENT: u64 = 2;
const FIRST_CONNECTION: u64 = 3;
/// How many events are taken at a time.
const EVENTS: usize = 256;
/// How often what takes too long is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Stops the loop, from any thread.
#[derive(Debug)]
pub(super) struct Stopper {
    event: EventFd,
    stop: AtomicBool,
}

impl Stopper {
    fn new() -> nix::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, stop: AtomicBool::new(false) })
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // It fails only if the loop is woken already.
        let _ = self.event.write(1);
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// What became of the batch of a number.
type Answer = (u64, Result<KeyValueOutput, ClientError>);
type Connect = dyn Fn(Reads) -> Result<Box<dyn Attend>, Error>;

/// A client whose socket the loop waits for.
fn listening(epoll: &Epoll, client: Box<dyn Attend>) -> Result<Box<dyn Attend>, Error> {
    epoll.add(client.socket(), EpollEvent::new(EpollFlags::EPOLLIN, CLIENT)).map_err(failed)?;
    Ok(client)
}

/// What connections share.
pub(super) struct Shared {
    options: GatewayOptions,
    kinds: Vec<Reads>,
    names: Vec<&'static str>,
    connect: Box<Connect>,
    /// A client for each kind of read, once somebody asks for it.
    clients: Vec<Option<Box<dyn Attend>>>,
    answers: Sender<Answer>,
    epoll: Epoll,
    cursors: Cursors,
    connected: usize,
    accepted: u64,
    rejected: u64,
    requests: u64,
}

impl Shared {
    /// The next step of a connection.
    pub(super) fn step(&mut self, connection: &mut Connection) -> Option<Step> {
        let password = self.options.password.as_ref();
        let is_password = |said: &[u8]| password.is_some_and(|password| password.is(said));
        let (connected, accepted, rejected, requests) =
            (self.connected, self.accepted, self.rejected, self.requests);
        let info = move || {
            format!(
                "connected_clients:{connected}\r\ntotal_connections_received:{accepted}\r\n\
                 rejected_connections:{rejected}\r\ntotal_commands_processed:{requests}\r\n"
            )
        };
        let mut context = Context {
            is_password: password.is_some().then_some(&is_password),
            reads: &self.names,
            cursors: &mut self.cursors,
            info: &info,
        };
        let step = connection.step(&mut context)?;
        self.requests += 1;
        Some(step)
    }

    /// What a question is answered.
    pub(super) fn reply(&mut self, query: &Query, outputs: &[BatchedOutput]) -> Reply {
        query.reply(outputs, &mut self.cursors)
    }

    /// Sends a command through the client for reads of this kind.
    pub(super) fn submit(
        &mut self,
        kind: usize,
        number: u64,
        command: KeyValueCommand,
    ) -> Result<Ticket, Error> {
        let client = match &mut self.clients[kind] {
            Some(client) => client,
            none => none.insert(listening(&self.epoll, (self.connect)(self.kinds[kind])?)?),
        };
        let answers = self.answers.clone();
        // Nobody listens when the gateway has stopped.
        let told = Box::new(move |answer| drop(answers.send((number, answer))));
        Ok(client.submit(command, told))
    }

    /// Lets the clients send what they were given, and hear. One that has ended is replaced when somebody asks again.
    fn attend(&mut self) -> Result<(), Error> {
        for slot in &mut self.clients {
            let Some(mut client) = slot.take() else { continue };
            match client.turn() {
                Ok(false) => *slot = Some(client),
                Ok(true) => *slot = Some(listening(&self.epoll, client)?),
                Err(error) => eprintln!("parthood: a client of the gateway has ended: {error}"),
            }
        }
        Ok(())
    }

    /// How long the loop may wait.
    fn patience(&mut self) -> Duration {
        let due = self.clients.iter_mut().flatten().filter_map(|client| client.patience());
        due.chain([TICK]).min().unwrap_or(TICK)
    }
}

/// The loop.
pub(super) struct Server {
    listener: TcpListener,
    stopper: Arc<Stopper>,
    answers: Receiver<Answer>,
    sessions: BTreeMap<u64, (Session, EpollFlags)>,
    next: u64,
    /// Connections that have something to ask.
    ready: Vec<u64>,
    flights: Flights,
    /// New connections wait until the next look, since the last one could not be accepted.
    is_deaf: bool,
    /// That was said, and none has been accepted since.
    has_complained: bool,
    shared: Shared,
}

fn failed(error: impl Into<io::Error>) -> Error {
    Error::Environment(format!("the gateway for Redis clients: {}", error.into()))
}

impl Server {
    pub(super) fn new(
        listener: TcpListener,
        kinds: Vec<Reads>,
        connect: Box<Connect>,
        options: GatewayOptions,
    ) -> Result<Self, Error> {
        listener.set_nonblocking(true).map_err(failed)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let stopper = Arc::new(Stopper::new().map_err(failed)?);
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).map_err(failed)?;
        epoll.add(&stopper.event, EpollEvent::new(EpollFlags::EPOLLIN, STOPPER)).map_err(failed)?;
        let (sender, answers) = mpsc::channel();
        let first = listening(&epoll, connect(kinds[0])?)?;
        let clients = std::iter::once(Some(first)).chain(kinds[1..].iter().map(|_| None)).collect();
        let shared = Shared {
            options,
            names: kinds.iter().map(|reads| reads.name()).collect(),
            kinds,
            connect,
            clients,
            answers: sender,
            epoll,
            cursors: Cursors::new(u32::from_le_bytes(entropy()?)),
            connected: 0,
            accepted: 0,
            rejected: 0,
            requests: 0,
        };
        Ok(Self {
            listener,
            stopper,
            answers,
            sessions: BTreeMap::new(),
            next: FIRST_CONNECTION,
            ready: vec![],
            flights: Flights::default(),
            is_deaf: false,
            has_complained: false,
            shared,
        })
    }

    pub(super) fn stopper(&self) -> Arc<Stopper> {
        self.stopper.clone()
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut looked = Instant::now();
        while !self.stopper.is_stopping() {
            // What is less than a millisecond is waited for as one.
            let patience = if self.ready.is_empty() { self.shared.patience() } else { Duration::ZERO };
            let patience = patience.as_micros().div_ceil(1_000);
            let patience = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::MAX);
            let count = match self.shared.epoll.wait(&mut events, patience) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(failed(error)),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    // Its loop ends, or the clients take their turns anyway.
                    STOPPER | CLIENT => {}
                    token => self.on_event(token, event.events()),
                }
            }
            self.ask();
            self.shared.attend()?;
            if looked.elapsed() >= TICK {
                looked = Instant::now();
                self.look_for_what_takes_too_long();
                if self.is_deaf {
                    self.listen(EpollFlags::EPOLLIN)?;
                }
            }
            // At last, since a command that is not taken is answered at once.
            self.on_answers();
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Error> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.has_complained = false;
                    self.welcome(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    // Such as too many open files: those who wait are accepted when there is room again.
                    if !std::mem::replace(&mut self.has_complained, true) {
                        eprintln!("parthood: cannot accept a Redis client, and tries again: {error}");
                    }
                    return self.listen(EpollFlags::empty());
                }
            }
        }
    }

    /// Waits for new connections, or does not.
    fn listen(&mut self, flags: EpollFlags) -> Result<(), Error> {
        self.is_deaf = flags.is_empty();
        let mut event = EpollEvent::new(flags, LISTENER);
        self.shared.epoll.modify(&self.listener, &mut event).map_err(failed)
    }

    fn welcome(&mut self, mut stream: TcpStream) {
        if self.sessions.len() >= self.shared.options.connections_max {
            self.shared.rejected += 1;
            // One that does not take even that is none to wait for.
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
            return;
        }
        let token = self.next;
        let prepared = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
        let flags = EpollFlags::EPOLLIN;
        let added =
            prepared.and_then(|()| Ok(self.shared.epoll.add(&stream, EpollEvent::new(flags, token))?));
        if let Err(error) = added {
            eprintln!("parthood: cannot serve a Redis client: {error}");
            return;
        }
        self.next += 1;
        self.shared.accepted += 1;
        let connection =
            Connection::new(token - FIRST_CONNECTION + 1, self.shared.options.password.is_some());
        self.sessions.insert(token, (Session::new(stream, connection), flags));
        self.shared.connected = self.sessions.len();
    }

    fn on_event(&mut self, token: u64, flags: EpollFlags) {
        let Some((session, _)) = self.sessions.get_mut(&token) else { return };
        let is_broken = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        let read = if flags.contains(EpollFlags::EPOLLIN) { session.read() } else { Ok(()) };
        if is_broken || read.is_err() {
            self.close(token);
        } else {
            self.advance(token);
        }
    }

    fn on_answers(&mut self) {
        while let Ok((number, answer)) = self.answers.try_recv() {
            self.land(number, answer);
        }
    }

    fn look_for_what_takes_too_long(&mut self) {
        let patience = self.shared.options.patience;
        let is_stuck =
            |(token, (session, _)): (&u64, &(Session, _))| session.is_stuck(patience).then_some(*token);
        let stuck: Vec<u64> = self.sessions.iter().filter_map(is_stuck).collect();
        for token in stuck {
            self.close(token);
        }
        self.expire();
    }

    /// Lets a session go on, and ends it when it is done or its client is gone.
    fn advance(&mut self, token: u64) {
        let Some((session, waits_for)) = self.sessions.get_mut(&token) else { return };
        if session.advance(&mut self.shared).is_err() || session.is_done() {
            return self.close(token);
        }
        if session.wants_to_ask() {
            self.ready.push(token);
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, session.wants_to_read());
        flags.set(EpollFlags::EPOLLOUT, session.wants_to_write());
        if flags != *waits_for {
            *waits_for = flags;
            if self.shared.epoll.modify(&session.stream, &mut EpollEvent::new(flags, token)).is_err() {
                self.close(token);
            }
        }
    }

    fn close(&mut self, token: u64) {
        if let Some((session, _)) = self.sessions.remove(&token) {
            // A closed socket is deleted by itself; this is for one whose descriptor somebody has copied.
            let _ = self.shared.epoll.delete(&session.stream);
        }
        self.shared.connected = self.sessions.len();
    }
}
