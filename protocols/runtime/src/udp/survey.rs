//! Asks all nodes of a cluster how they stand, from outside of it.

use super::AddressBook;
use super::peers::{ClientProcess, Peers, bits_of, in_family};
use super::standing::{Control, DRIVER, Standing};
use super::watch::{is_driver, unix_nanoseconds};
use crate::Error;
use crate::wire::{Frame, FrameWriter, Keys, MAX_DATAGRAM_LEN, Refusal, Seal, entropy};
use stateright::actor::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// When those who have not answered are asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// What came of a survey.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// How each node stands that has answered, and how long its answer took.
    pub answers: BTreeMap<u64, (Standing, Duration)>,
    /// Datagrams that were refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

/// Asks all nodes of the address book, and again those that do not answer, until all of `expected` have or `patience` ends.
///
/// # Errors
/// When a socket cannot be used.
pub fn survey(
    cluster: u64,
    keys: &Keys,
    book: &AddressBook,
    expected: &BTreeSet<u64>,
    patience: Duration,
) -> Result<Survey, Error> {
    let mut asker = Asker::new(cluster, keys.seal(), book)?;
    let begun = Instant::now();
    let mut survey = Survey::default();
    let mut last: Option<Instant> = None;
    while !expected.iter().all(|node| survey.answers.contains_key(node)) {
        let now = Instant::now();
        let left = patience.saturating_sub(now.duration_since(begun));
        if left.is_zero() {
            break;
        }
        if last.is_none_or(|last| now.duration_since(last) >= AGAIN) {
            asker.ask(&survey)?;
            last = Some(now);
        }
        asker.listen(left.min(AGAIN), begun, &mut survey)?;
    }
    Ok(survey)
}

/// What an asker hears.
pub(super) enum Heard {
    /// How a node stands.
    Told(Standing),
    /// What the application of a node says.
    Answered(Vec<u8>),
}

/// Asks event loops from outside of the cluster.
#[derive(Debug)]
pub(super) struct Asker {
    cluster: u64,
    seal: Seal,
    peers: Peers,
    places: BTreeMap<SocketAddr, Vec<u64>>,
    id: Id,
    number: u64,
    stamp: u64,
    local: SocketAddr,
    socket: UdpSocket,
}

impl Asker {
    pub(super) fn new(cluster: u64, seal: Seal, book: &AddressBook) -> Result<Self, Error> {
        let is_v6 = book.addresses().iter().any(SocketAddr::is_ipv6);
        let any = if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let address = SocketAddr::new(any, 0);
        let socket = UdpSocket::bind(address).map_err(|source| Error::Bind { address, source })?;
        let local = socket.local_addr().map_err(|source| Error::Bind { address, source })?;
        let mut places: BTreeMap<SocketAddr, Vec<u64>> = BTreeMap::new();
        for (node, address) in (0..).zip(book.addresses()) {
            places.entry(in_family(*address, is_v6)).or_default().push(node);
        }
        Ok(Self {
            cluster,
            seal,
            peers: Peers::new(book.clone()),
            places,
            id: ClientProcess::random()?.id(0),
            number: u64::from_le_bytes(entropy()?),
            stamp: unix_nanoseconds(),
            local,
            socket,
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Socket { action, address: self.local, source }
    }

    /// Asks everybody of whom an answer is missing.
    fn ask(&mut self, survey: &Survey) -> Result<(), Error> {
        let question = Control::Ask { number: self.number };
        let is_missing = |nodes: &Vec<u64>| nodes.iter().any(|node| !survey.answers.contains_key(node));
        let places = self.places.iter().filter(|(_, nodes)| is_missing(nodes)).map(|(address, _)| *address);
        for address in places.collect::<Vec<_>>() {
            self.send(address, &question)?;
        }
        Ok(())
    }

    /// Where a node is.
    pub(super) fn address(&self, node: Id) -> Option<SocketAddr> {
        let at = |nodes: &Vec<u64>| nodes.contains(&bits_of(node));
        self.places.iter().find(|(_, nodes)| at(nodes)).map(|(address, _)| *address)
    }

    /// The number of a new question; answers to earlier ones are not heard any more.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Sends a question to an event loop.
    pub(super) fn send(&mut self, address: SocketAddr, question: &Control) -> Result<(), Error> {
        let mut frame = FrameWriter::default();
        frame.begin(self.cluster, self.id);
        frame
            .push(self.id, Id::from(DRIVER), question, MAX_DATAGRAM_LEN)
            .map_err(|error| Error::Setup(format!("a question cannot be encoded: {error}")))?;
        self.stamp += 1;
        frame.seal(&self.seal, self.stamp);
        match self.socket.send_to(frame.bytes(), address) {
            // Nobody listens there, or no way leads there; somebody may, later.
            Err(error) if is_of_the_network(&error) => Ok(()),
            sent => sent.map(drop).map_err(|error| self.failed("send", error)),
        }
    }

    /// Takes one datagram, if one comes in time.
    fn listen(&self, patience: Duration, begun: Instant, survey: &mut Survey) -> Result<(), Error> {
        let answers = &mut survey.answers;
        let refused = self.receive(patience, |src, heard| {
            if let Heard::Told(standing) = heard {
                answers.entry(bits_of(src)).or_insert((standing, begun.elapsed()));
            }
        })?;
        if let Some(why) = refused {
            *survey.refused.entry(why).or_default() += 1;
        }
        Ok(())
    }

    /// Takes one datagram, if one comes in time; why it was refused, if it was.
    pub(super) fn receive(
        &self,
        patience: Duration,
        take: impl FnMut(Id, Heard),
    ) -> Result<Option<Refusal>, Error> {
        let mut datagram = vec![0; MAX_DATAGRAM_LEN + 1];
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience)).map_err(|error| self.failed("wait", error))?;
        match self.socket.recv(&mut datagram) {
            Ok(length) => Ok(self.hear(&datagram[..length], take).err()),
            Err(error) if is_of_the_network(&error) => Ok(None),
            Err(error) => Err(self.failed("receive", error)),
        }
    }

    /// Takes the answers of a datagram.
    fn hear(&self, datagram: &[u8], mut take: impl FnMut(Id, Heard)) -> Result<(), Refusal> {
        let frame = Frame::open(datagram, self.cluster, &self.seal)?;
        for parcel in frame.parcels() {
            let parcel = parcel?;
            if !self.peers.is_from(parcel.src, frame.sender) {
                return Err(Refusal::Source);
            }
            if !is_driver(parcel.dst) {
                return Err(Refusal::Destination);
            }
            match parcel.message()? {
                Control::Told { number, standing } if number == self.number => {
                    take(parcel.src, Heard::Told(standing));
                }
                Control::Answer { number, answer } if number == self.number => {
                    take(parcel.src, Heard::Answered(answer));
                }
                _ => return Err(Refusal::Stale),
            }
        }
        Ok(())
    }
}

/// Does the network fail, and not this machine?
fn is_of_the_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable, TimedOut, WouldBlock,
    };
    let kinds = [ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable, TimedOut, WouldBlock];
    kinds.contains(&error.kind())
}
