//! A UDP socket that receives and sends in batches.

use crate::Error;
use crate::wire::MAX_DATAGRAM_LEN;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt};
use nix::sys::time::TimeSpec;
use std::cell::RefCell;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Datagrams per system call.
pub(super) const BATCH: usize = 64;
/// One byte more than a datagram may have, so that a longer one is recognised although the rest is lost.
const SLOT_LEN: usize = MAX_DATAGRAM_LEN + 1;
/// What the kernel is asked to queue in either direction.
const KERNEL_BUFFER_LEN: usize = 8 << 20;
/// How long a full send queue is waited for before datagrams are dropped.
const SEND_PATIENCE: Duration = Duration::from_millis(20);

thread_local! {
    // They hold raw pointers between calls, though none that is still used, and so would tie a socket to a thread.
    static RECEIVE: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
    static SEND: RefCell<MultiHeaders<SockaddrStorage>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

/// The socket of a process, and its receive buffers.
pub(super) struct Socket {
    udp: UdpSocket,
    local: SocketAddr,
    slots: Vec<u8>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) datagrams: bool,
    pub(super) event: bool,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let socket = UdpSocket::bind(address).map_err(|source| Error::Bind { address, source })?;
        let local = socket.local_addr().map_err(|source| Error::Bind { address, source })?;
        socket.set_nonblocking(true).map_err(|source| Error::Bind { address, source })?;
        // Only the privileged may exceed the system's limit; what is granted is enough to work with.
        let _ = setsockopt(&socket, RcvBufForce, &KERNEL_BUFFER_LEN)
            .or_else(|_| setsockopt(&socket, RcvBuf, &KERNEL_BUFFER_LEN));
        let _ = setsockopt(&socket, SndBufForce, &KERNEL_BUFFER_LEN)
            .or_else(|_| setsockopt(&socket, SndBuf, &KERNEL_BUFFER_LEN));
        Ok(Self { udp: socket, local, slots: vec![0; BATCH * SLOT_LEN] })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    fn error(&self, action: &'static str, errno: Errno) -> Error {
        Error::Socket { action, address: self.local, source: errno.into() }
    }

    /// Waits until datagrams have arrived, the event is signalled, or the time is over.
    pub(super) fn wait(&self, event: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Ready, Error> {
        let mut fds =
            [PollFd::new(self.udp.as_fd(), PollFlags::POLLIN), PollFd::new(event, PollFlags::POLLIN)];
        match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) => {
                let [datagrams, event] = fds.map(|fd| fd.revents().is_none_or(|events| !events.is_empty()));
                Ok(Ready { datagrams, event })
            }
            Err(Errno::EINTR) => Ok(Ready::default()),
            Err(errno) => Err(self.error("wait", errno)),
        }
    }

    /// Receives what has arrived, up to [`BATCH`] datagrams, and shows each; returns their number.
    pub(super) fn receive(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> Result<usize, Error> {
        let fd = self.udp.as_raw_fd();
        let slots = &mut self.slots;
        let result = RECEIVE.with_borrow_mut(|headers| {
            let mut slots: Vec<_> = slots.chunks_mut(SLOT_LEN).map(|slot| [IoSliceMut::new(slot)]).collect();
            let datagrams = recvmmsg(fd, headers, &mut slots, MsgFlags::MSG_DONTWAIT, None)?;
            let mut count = 0;
            for datagram in datagrams {
                count += 1;
                if let Some(from) = datagram.address.as_ref().and_then(to_std) {
                    each(from, datagram.iovs().next().unwrap_or_default());
                }
            }
            Ok(count)
        });
        match result {
            Ok(count) => Ok(count),
            // Datagrams that could not be delivered earlier may be reported here; they are lost, as datagrams are.
            Err(
                Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH,
            ) => Ok(0),
            Err(errno) => Err(self.error("receive", errno)),
        }
    }

    /// Sends datagrams in order; returns how many the operating system did not take.
    pub(super) fn send(&mut self, datagrams: &[(SocketAddr, &[u8])]) -> Result<u64, Error> {
        let mut failures = 0;
        let mut rest = datagrams;
        while !rest.is_empty() {
            let taken = match send_batch(self.udp.as_raw_fd(), &rest[..rest.len().min(BATCH)]) {
                Ok(sent) => sent,
                Err(Errno::EINTR) => 0,
                Err(Errno::EAGAIN) if self.drained()? => 0,
                Err(errno @ (Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT)) => {
                    return Err(self.error("send", errno));
                }
                // The first of them is refused: no route, a firewall, a queue that stays full.
                Err(_) => {
                    failures += 1;
                    1
                }
            };
            rest = &rest[taken..];
        }
        Ok(failures)
    }

    /// Waits a little while for room in the send queue.
    fn drained(&self) -> Result<bool, Error> {
        let mut fds = [PollFd::new(self.udp.as_fd(), PollFlags::POLLOUT)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(SEND_PATIENCE)), None) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(self.error("wait", errno)),
        }
    }
}

/// Sends the first of some datagrams; returns how many.
fn send_batch(fd: RawFd, batch: &[(SocketAddr, &[u8])]) -> Result<usize, Errno> {
    let slices: Vec<_> = batch.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let addresses: Vec<_> = batch.iter().map(|(address, _)| Some(SockaddrStorage::from(*address))).collect();
    SEND.with_borrow_mut(|headers| {
        sendmmsg(fd, headers, &slices, addresses, [], MsgFlags::MSG_DONTWAIT).map(Iterator::count)
    })
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}
