//! Where the others are.

use crate::wire::entropy;
use crate::{Error, LOCAL_APPLICATION};
use foldhash::HashMap;
use stateright::actor::Id;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// A process remembers the addresses of at least so many clients, and of at most twice as many.
const MAX_CLIENTS: usize = 1 << 16;

/// The addresses of nodes `0..n`. Nodes of one process have the same address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook(Vec<SocketAddr>);

impl AddressBook {
    /// The address of a node.
    pub fn address(&self, id: Id) -> Option<SocketAddr> {
        self.0.get(usize::from(id)).copied()
    }

    /// So many nodes of this machine, each at a loopback port that was free just now: for tests and examples.
    ///
    /// # Errors
    /// When loopback has no port left.
    pub fn on_loopback(nodes: usize) -> Result<Self, Error> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let refused = |source| Error::Bind { address: any, source };
        // All are bound before one is let go, so that none is given twice.
        let bind = |_| UdpSocket::bind(any).map_err(refused);
        let sockets = (0..nodes).map(bind).collect::<Result<Vec<_>, _>>()?;
        sockets.iter().map(|socket| socket.local_addr().map_err(refused)).collect::<Result<_, _>>().map(Self)
    }

    /// All addresses, in the order of the nodes.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl FromIterator<SocketAddr> for AddressBook {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        Self(addresses.into_iter().collect())
    }
}

/// A process that hosts clients, by a number that it draws at random: 46 bits, so that even 10,000 clients at a time
/// share one with a chance below one in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientProcess(u64);

impl ClientProcess {
    /// Clients have the highest bit set. The next is clear, which keeps [`LOCAL_APPLICATION`] out.
    const CLASS: u64 = 0b10 << 62;
    const CLASS_MASK: u64 = 0b11 << 62;
    const INDEX_MASK: u64 = 0xffff;

    /// Draws a number.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, Error> {
        let number = u64::from_le_bytes(entropy()?);
        Ok(Self(number & !Self::CLASS_MASK & !Self::INDEX_MASK | Self::CLASS))
    }

    /// The actor of this index in the process.
    pub fn id(self, index: u16) -> Id {
        id_of(self.0 | u64::from(index))
    }

    fn of(id: Id) -> Option<Self> {
        let bits = bits_of(id);
        (bits & Self::CLASS_MASK == Self::CLASS).then_some(Self(bits & !Self::INDEX_MASK))
    }
}

/// Somewhere that datagrams can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Server(SocketAddr),
    Client(ClientProcess),
}

/// Finds processes, and learns where clients are.
#[derive(Debug)]
pub(super) struct Peers {
    book: AddressBook,
    clients: Recent,
}

impl Peers {
    pub(super) fn new(book: AddressBook) -> Self {
        Self { book, clients: Recent::default() }
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.book.addresses().len()
    }

    /// One node of each process.
    pub(super) fn places(&self) -> Vec<Id> {
        let addresses = self.book.addresses();
        let is_first = |node: &usize| !addresses[..*node].contains(&addresses[*node]);
        (0..addresses.len()).filter(is_first).map(Id::from).collect()
    }

    /// Is this a client of some process?
    pub(super) fn is_client(&self, id: Id) -> bool {
        self.book.address(id).is_none() && ClientProcess::of(id).is_some()
    }

    /// How to reach an actor, if that is known.
    pub(super) fn locate(&mut self, id: Id) -> Option<(Endpoint, SocketAddr)> {
        if let Some(address) = self.book.address(id) {
            return Some((Endpoint::Server(address), address));
        }
        let process = ClientProcess::of(id)?;
        self.clients.get(process).map(|seen| (Endpoint::Client(process), seen.address))
    }

    /// May a frame of `sender` hold a message of `src`? Only if both live in one process.
    pub(super) fn is_from(&self, src: Id, sender: Id) -> bool {
        let process = |id| match self.book.address(id) {
            Some(address) => Some(Endpoint::Server(address)),
            None => ClientProcess::of(id).map(Endpoint::Client),
        };
        process(src).is_some_and(|p| process(sender) == Some(p))
    }

    /// An authenticated frame of `sender` came from `address`. Only the latest frame of a client says where it is, so
    /// that a repeated old one cannot divert its replies.
    pub(super) fn learn(&mut self, sender: Id, stamp: u64, address: SocketAddr) {
        let Some(process) = ClientProcess::of(sender) else { return };
        match self.clients.get(process) {
            Some(seen) if seen.stamp >= stamp => {}
            Some(seen) => *seen = Seen { address, stamp },
            None => self.clients.insert(process, Seen { address, stamp }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    address: SocketAddr,
    stamp: u64,
}

/// The clients used most recently: when the young generation is full it becomes the old one, and the old one is
/// forgotten. What is used moves back to the young.
#[derive(Debug, Default)]
struct Recent {
    young: HashMap<ClientProcess, Seen>,
    old: HashMap<ClientProcess, Seen>,
}

impl Recent {
    fn get(&mut self, process: ClientProcess) -> Option<&mut Seen> {
        if !self.young.contains_key(&process) {
            let seen = self.old.remove(&process)?;
            self.insert(process, seen);
        }
        self.young.get_mut(&process)
    }

    fn insert(&mut self, process: ClientProcess, seen: Seen) {
        if self.young.len() >= MAX_CLIENTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(process, seen);
    }
}

/// The form of an address that a socket of a family can send to: an IPv6 socket reaches IPv4 by mapped addresses.
pub(super) fn in_family(address: SocketAddr, socket_is_v6: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if socket_is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}

pub(super) fn is_local_application(id: Id) -> bool {
    usize::from(id) == LOCAL_APPLICATION
}

pub(super) fn bits_of(id: Id) -> u64 {
    usize::from(id) as u64
}

fn id_of(bits: u64) -> Id {
    Id::from(usize::try_from(bits).expect("this software runs on 64-bit machines"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::new([127, 0, 0, 1].into(), port)
    }

    fn peers() -> Peers {
        Peers::new([address(1), address(1), address(2)].into_iter().collect())
    }

    #[test]
    fn a_source_is_believed_only_within_the_process_of_the_sender() {
        let peers = peers();
        let [a, b] = [(); 2].map(|()| ClientProcess::random().unwrap().id(0));
        assert!(peers.is_from(Id::from(0), Id::from(1)), "two nodes of one process");
        assert!(!peers.is_from(Id::from(0), Id::from(2)));
        assert!(!peers.is_from(Id::from(3), Id::from(3)), "no node has that index");
        assert!(peers.is_from(a, a) && !peers.is_from(a, b) && !peers.is_from(a, Id::from(0)));
        assert!(!peers.is_from(Id::from(LOCAL_APPLICATION), Id::from(LOCAL_APPLICATION)));
    }

    #[test]
    fn nodes_on_loopback_have_ports_of_their_own() {
        let book = AddressBook::on_loopback(3).unwrap();
        let ports: std::collections::BTreeSet<u16> = book.addresses().iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 3);
        assert!(!ports.contains(&0) && book.addresses().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn clients_of_one_process_share_an_address_and_only_a_newer_frame_moves_it() {
        let mut peers = peers();
        let process = ClientProcess::random().unwrap();
        assert_eq!(peers.locate(process.id(5)), None);
        peers.learn(process.id(0), 10, address(100));
        peers.learn(process.id(0), 9, address(101));
        peers.learn(process.id(0), 10, address(101));
        let found = |peers: &mut Peers| peers.locate(process.id(5)).unwrap().1;
        assert_eq!(found(&mut peers), address(100));
        peers.learn(process.id(3), 11, address(102));
        assert_eq!(found(&mut peers), address(102));
        peers.learn(Id::from(0), 12, address(103));
        assert_eq!(peers.locate(Id::from(0)).unwrap().1, address(1), "nodes are where the book says");
    }

    #[test]
    fn the_memory_of_clients_is_bounded_and_keeps_those_in_use() {
        let mut recent = Recent::default();
        let seen = Seen { address: address(1), stamp: 0 };
        let client = |i: u64| ClientProcess(ClientProcess::CLASS | i << 16);
        for i in 0..5 * MAX_CLIENTS as u64 {
            recent.insert(client(i), seen);
            assert!(recent.get(client(0)).is_some());
        }
        assert!(recent.young.len() + recent.old.len() <= 2 * MAX_CLIENTS);
        assert!(recent.get(client(1)).is_none());
    }
}
