//! The event loop of the gateway.

use super::session::Session;
use super::{GatewayOptions, reads_name};
use crate::deploy::{ClientError, KvClient, Reads, Ticket};
use crate::error::Error;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
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

/// Whom an event is about: the listener, the waker, or a connection with a larger number.
const LISTENER: u64 = 0;
const WAKER: u64 = 1;
/// How many events are taken at a time.
const EVENTS: usize = 256;
/// How often what takes too long is looked for, in milliseconds.
const TICK_MS: u16 = 100;

/// Wakes and stops the loop, from any thread.
#[derive(Debug)]
pub(super) struct Waker {
    event: EventFd,
    /// Is a wake-up pending?
    woken: AtomicBool,
    stop: AtomicBool,
}

impl Waker {
    fn new() -> nix::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { event, woken: AtomicBool::new(false), stop: AtomicBool::new(false) })
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // It fails only if a wake-up is pending.
            let _ = self.event.write(1);
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes room for the next wake-up. What was to be told by those that came before is in the channel already. The event is taken
    /// first: were it last, it could be that of a wake-up which came in between, and every later one would think it pending.
    fn clear(&self) {
        let _ = self.event.read();
        self.woken.swap(false, Ordering::AcqRel);
    }
}

/// Which batch of which connection.
type Place = (u64, u64);
type Answer = (Place, Result<KeyValueOutput, ClientError>);
type Connect = dyn Fn(Reads) -> Result<KvClient, Error> + Send;

/// What connections share.
pub(super) struct Shared {
    options: GatewayOptions,
    kinds: Vec<Reads>,
    names: Vec<String>,
    connect: Box<Connect>,
    /// A client for each kind of read, once somebody asks for it.
    clients: Vec<Option<KvClient>>,
    answers: Sender<Answer>,
    waker: Arc<Waker>,
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
        let reads: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut context = Context {
            is_password: password.is_some().then_some(&is_password),
            reads: &reads,
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
        place: Place,
        command: KeyValueCommand,
    ) -> Result<Ticket, Error> {
        let client = match &mut self.clients[kind] {
            Some(client) => client,
            none => none.insert((self.connect)(self.kinds[kind])?),
        };
        let (answers, waker) = (self.answers.clone(), self.waker.clone());
        Ok(client.submit_with(command, move |answer| {
            // Nobody listens when the gateway has stopped.
            let _ = answers.send((place, answer));
            waker.wake();
        }))
    }
}

/// The loop.
pub(super) struct Server {
    listener: TcpListener,
    epoll: Epoll,
    waker: Arc<Waker>,
    answers: Receiver<Answer>,
    sessions: BTreeMap<u64, (Session, EpollFlags)>,
    next: u64,
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
        let waker = Arc::new(Waker::new().map_err(failed)?);
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).map_err(failed)?;
        epoll.add(&waker.event, EpollEvent::new(EpollFlags::EPOLLIN, WAKER)).map_err(failed)?;
        let (sender, answers) = mpsc::channel();
        let first = connect(kinds[0])?;
        let clients = std::iter::once(Some(first)).chain(kinds[1..].iter().map(|_| None)).collect();
        let shared = Shared {
            options,
            names: kinds.iter().map(|reads| reads_name(*reads)).collect(),
            kinds,
            connect,
            clients,
            answers: sender,
            waker: waker.clone(),
            cursors: Cursors::new(u32::from_le_bytes(entropy()?)),
            connected: 0,
            accepted: 0,
            rejected: 0,
            requests: 0,
        };
        Ok(Self { listener, epoll, waker, answers, sessions: BTreeMap::new(), next: WAKER + 1, shared })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut looked = Instant::now();
        while !self.waker.stop.load(Ordering::Acquire) {
            let count = match self.epoll.wait(&mut events, TICK_MS) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(failed(error)),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(),
                    WAKER => self.waker.clear(),
                    token => self.on_event(token, event.events()),
                }
            }
            self.on_answers();
            if looked.elapsed() >= Duration::from_millis(TICK_MS.into()) {
                looked = Instant::now();
                self.look_for_what_takes_too_long();
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Such as too many open files: those who wait are accepted when there is room again.
                    eprintln!("parthood: cannot accept a Redis client: {error}");
                    std::thread::sleep(Duration::from_millis(10));
                    return;
                }
            }
        }
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
        let added = prepared.and_then(|()| Ok(self.epoll.add(&stream, EpollEvent::new(flags, token))?));
        if let Err(error) = added {
            eprintln!("parthood: cannot serve a Redis client: {error}");
            return;
        }
        self.next += 1;
        self.shared.accepted += 1;
        let connection = Connection::new(token - WAKER, self.shared.options.password.is_some());
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
        while let Ok(((token, number), answer)) = self.answers.try_recv() {
            if let Some((session, _)) = self.sessions.get_mut(&token) {
                session.answer(number, answer, &mut self.shared);
                self.advance(token);
            }
        }
    }

    fn look_for_what_takes_too_long(&mut self) {
        let (timeout, patience) = (self.shared.options.timeout, self.shared.options.patience);
        let tokens: Vec<u64> = self.sessions.keys().copied().collect();
        for token in tokens {
            let Some((session, _)) = self.sessions.get_mut(&token) else { continue };
            if session.is_stuck(patience) {
                self.close(token);
            } else if session.expire(timeout) {
                self.advance(token);
            }
        }
    }

    /// Lets a session go on, and ends it when it is done or its client is gone.
    fn advance(&mut self, token: u64) {
        let Some((session, waits_for)) = self.sessions.get_mut(&token) else { return };
        if session.advance(token, &mut self.shared).is_err() || session.is_done() {
            return self.close(token);
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, session.wants_to_read());
        flags.set(EpollFlags::EPOLLOUT, session.wants_to_write());
        if flags != *waits_for {
            *waits_for = flags;
            if self.epoll.modify(&session.stream, &mut EpollEvent::new(flags, token)).is_err() {
                self.close(token);
            }
        }
    }

    fn close(&mut self, token: u64) {
        if let Some((session, _)) = self.sessions.remove(&token) {
            // A closed socket is deleted by itself; this is for one whose descriptor somebody has copied.
            let _ = self.epoll.delete(&session.stream);
        }
        self.shared.connected = self.sessions.len();
    }
}
