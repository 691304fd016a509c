//! Putting a driver together.

use super::driver::{Driver, Parts};
use super::handle::Handle;
use super::outgoing::Outgoing;
use super::peers::{AddressBook, Peers, bits_of, in_family};
use super::socket::Socket;
use super::standing::{Answers, Standing, Tell};
use super::watch::{Watch, unix_nanoseconds};
use crate::storage::{Durability, Journal, Limits, Log};
use crate::wire::{HEADER_LEN, Keys, MAC_LEN, MAX_DATAGRAM_LEN, entropy};
use crate::{Error, Observer, Runnable};
use stateright::actor::Id;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A datagram of this length passes the networks that most people have without being cut into fragments.
const DEFAULT_FLUSH_LEN: usize = 1_400;

/// What a driver is made of. Only the hosted actors are required.
pub struct Builder<A: Runnable, J> {
    cluster: u64,
    keys: Keys,
    book: AddressBook,
    actors: Vec<(Id, A)>,
    bind: Option<SocketAddr>,
    data: Option<PathBuf>,
    durability: Durability,
    limits: Limits,
    seed: Option<u64>,
    flush_len: usize,
    observer: Option<Box<dyn Observer<A> + Send>>,
    tell: Option<Tell<A>>,
    every: Option<Duration>,
    answers: Option<Box<dyn Answers<A>>>,
    journal: PhantomData<fn() -> J>,
}

impl<A, J> Builder<A, J>
where
    A: Runnable<State: 'static, Storage: Send + 'static>,
    J: Journal<A::Storage>,
{
    /// Begins with no actor. `cluster` tells clusters apart that happen to share a network; the keys keep strangers out.
    pub fn new(cluster: u64, keys: impl Into<Keys>, book: AddressBook) -> Self {
        Self {
            cluster,
            keys: keys.into(),
            book,
            actors: Vec::new(),
            bind: None,
            data: None,
            durability: Durability::default(),
            limits: Limits::default(),
            seed: None,
            flush_len: DEFAULT_FLUSH_LEN,
            observer: None,
            tell: None,
            every: None,
            answers: None,
            journal: PhantomData,
        }
    }

    /// Hosts an actor: a node of the address book, or a client of a [`ClientProcess`](super::ClientProcess).
    #[must_use]
    pub fn host(mut self, id: Id, actor: A) -> Self {
        self.actors.push((id, actor));
        self
    }

    /// Listens here, instead of at the hosted nodes' address in the book or, for clients, at any free port.
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Keeps what actors save in this directory. Without one, saves are forgotten with the process.
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// What a save survives, if there is a data directory.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// When the log is replaced by a snapshot.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Draws durations, random choices and injected faults from this seed, instead of a random one.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Packs messages into datagrams of up to so many bytes, instead of 1,400. A single longer message gets a datagram
    /// of its own. On loopback larger is faster; on other networks fragments get lost.
    #[must_use]
    pub fn flush_len(mut self, bytes: usize) -> Self {
        self.flush_len = bytes.clamp(HEADER_LEN + MAC_LEN, MAX_DATAGRAM_LEN);
        self
    }

    /// Shows every step to an observer.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer<A> + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Answers those who ask how the hosted nodes stand, by what this says of a state. It is called between steps, some twenty
    /// times a second and once for each question.
    #[must_use]
    pub fn standing(mut self, tell: impl Fn(Id, &A::State) -> Standing + Send + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// Answers an [`Inquirer`](super::Inquirer) by what this says.
    #[must_use]
    pub fn inquiries(mut self, answers: impl Answers<A> + 'static) -> Self {
        self.answers = Some(Box::new(answers));
        self
    }

    /// Asks all other processes of the address book so often how their nodes stand.
    #[must_use]
    pub fn watch(mut self, every: Duration) -> Self {
        self.every = Some(every);
        self
    }

    /// Binds the socket, recovers the saves, and starts the actors. What they send leaves with the first turn.
    ///
    /// # Errors
    /// When actors, book and address do not fit together, the socket cannot be bound, or the data directory cannot be
    /// used.
    pub fn build(self) -> Result<Driver<A, J>, Error> {
        let sender = self.check_actors()?;
        let bind = self.choose_bind()?;
        let hosted: Vec<u64> = self.actors.iter().map(|(id, _)| bits_of(*id)).collect();
        let log = match &self.data {
            Some(path) => Some(Log::open(path, self.cluster, &hosted, self.durability, self.limits)?),
            None => None,
        };
        let socket = Socket::bind(bind)?;
        let is_v6 = socket.local().is_ipv6();
        let book = self.book.addresses().iter().map(|&address| in_family(address, is_v6)).collect();
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from_le_bytes(entropy()?),
        };
        // A process that starts again goes on with higher stamps than it used before.
        let stamp = unix_nanoseconds();
        let seal = self.keys.seal();
        let outgoing = Outgoing::new(self.cluster, sender, seal.clone(), stamp, self.flush_len);
        Ok(Driver::start(Parts {
            cluster: self.cluster,
            seal,
            actors: self.actors,
            peers: Peers::new(book),
            outgoing,
            handle: Handle::new(socket.waker()?),
            socket,
            log,
            seed,
            observer: self.observer,
            watch: Watch::new(self.tell, self.every, self.answers),
        }))
    }

    /// The id that frames of this process name as their sender.
    fn check_actors(&self) -> Result<Id, Error> {
        let ids: BTreeSet<Id> = self.actors.iter().map(|(id, _)| *id).collect();
        if ids.len() < self.actors.len() {
            return Err(Error::Setup("an actor is hosted twice".into()));
        }
        let first = *ids.first().ok_or_else(|| Error::Setup("a driver needs an actor to host".into()))?;
        let peers = Peers::new(self.book.clone());
        match ids.iter().find(|&&id| !peers.is_from(id, first)) {
            None => Ok(first),
            Some(&id) if self.book.address(id).is_none() && usize::from(id) >> 63 == 0 => {
                let known = self.book.addresses().len();
                Err(Error::Setup(format!(
                    "node {id:?} is not in the address book, which lists {known} nodes"
                )))
            }
            Some(id) => Err(Error::Setup(format!(
                "{first:?} and {id:?} cannot share a process: in the address book they live in different ones"
            ))),
        }
    }

    fn choose_bind(&self) -> Result<SocketAddr, Error> {
        let v6 = self.book.addresses().iter().find(|address| address.is_ipv6());
        let v4 = self.book.addresses().iter().find(|address| address.is_ipv4());
        let listed = self.actors.first().and_then(|(id, _)| self.book.address(*id));
        let any = if v6.is_some() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let bind = self.bind.or(listed).unwrap_or(SocketAddr::new(any, 0));
        let unreachable = match bind {
            SocketAddr::V4(_) => v6,
            SocketAddr::V6(bind) if bind.ip().is_unspecified() => None,
            SocketAddr::V6(_) => v4,
        };
        match unreachable {
            None => Ok(bind),
            Some(other) => Err(Error::Setup(format!(
                "{other} cannot be reached from {bind}, which is of the other IP version: listen on [::]:{} for both",
                bind.port()
            ))),
        }
    }
}
