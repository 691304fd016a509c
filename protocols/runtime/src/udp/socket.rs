//! A UDP socket that receives and sends in batches.
//!
//! A busy turn costs two system calls: one that waits and receives, and one that sends. The time limit of the first is a
//! property of the socket (`SO_RCVTIMEO`), and setting it is a third call; it is left alone while it is short enough,
//! since a wait that ends early costs nothing but another turn. It is also coarse, so short waits use `ppoll`. Another
//! thread ends a wait by an empty datagram to the socket itself.

use crate::Error;
use crate::wire::MAX_DATAGRAM_LEN;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, getsockopt, recvmmsg, sendmmsg, sendto, setsockopt,
};
use nix::sys::time::TimeSpec;
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Datagrams per system call.
pub(super) const BATCH: usize = 64;
/// Slots that are offered at least.
const MIN_OFFER: usize = 4;
/// One byte more than a datagram may have, so that a longer one is recognised although the rest is lost.
const SLOT_LEN: usize = MAX_DATAGRAM_LEN + 1;
/// What the kernel is asked to queue in either direction.
const KERNEL_BUFFER_LEN: usize = 8 << 20;
/// Waits shorter than this are timed precisely.
const COARSE: Duration = Duration::from_millis(20);
/// The longest wait. A wake-up that got lost is noticed after this time.
const MAX_WAIT: Duration = Duration::from_secs(1);
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
    /// How many slots the next call offers: preparing them costs time even if nothing comes.
    offered: usize,
    /// The time limit that the socket has now.
    limit: Option<Duration>,
    /// What the kernel queues of what arrives.
    receive_buffer: usize,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::bind_with(address, KERNEL_BUFFER_LEN)
    }

    fn bind_with(address: SocketAddr, kernel_buffer_len: usize) -> Result<Self, Error> {
        let socket = UdpSocket::bind(address).map_err(|source| Error::Bind { address, source })?;
        let local = socket.local_addr().map_err(|source| Error::Bind { address, source })?;
        // Only the privileged may exceed the system's limit; what is granted is enough to work with.
        let _ = setsockopt(&socket, RcvBufForce, &kernel_buffer_len)
            .or_else(|_| setsockopt(&socket, RcvBuf, &kernel_buffer_len));
        let _ = setsockopt(&socket, SndBufForce, &kernel_buffer_len)
            .or_else(|_| setsockopt(&socket, SndBuf, &kernel_buffer_len));
        // Linux takes as much again for its own records, and says so.
        let receive_buffer = getsockopt(&socket, RcvBuf).map_or(0, |granted| granted / 2);
        let slots = vec![0; BATCH * SLOT_LEN];
        Ok(Self { udp: socket, local, slots, offered: MIN_OFFER, limit: None, receive_buffer })
    }

    /// How many bytes the kernel queues of what arrives: what it granted, which may be less than it was asked for.
    pub(super) fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    fn failed(&self, action: &'static str, source: impl Into<io::Error>) -> Error {
        Error::Socket { action, address: self.local, source: source.into() }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }

    pub(super) fn waker(&self) -> Result<Waker, Error> {
        let udp = self.udp.try_clone().map_err(|error| self.failed("duplicate", error))?;
        let mut address = self.local;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        Ok(Waker { udp, address })
    }

    /// Waits for datagrams, perhaps for less than `patience` (`None`: a second). Shows each of up to [`BATCH`] that have
    /// arrived; returns whether there may be more.
    pub(super) fn receive(
        &mut self,
        patience: Option<Duration>,
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> Result<bool, Error> {
        let flags = self.prepare(patience.unwrap_or(MAX_WAIT).min(MAX_WAIT))?;
        let fd = self.udp.as_raw_fd();
        let (slots, offered) = (&mut self.slots, self.offered);
        let result = RECEIVE.with_borrow_mut(|headers| {
            let slots = slots.chunks_mut(SLOT_LEN).take(offered);
            let mut slots: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
            let datagrams = recvmmsg(fd, headers, &mut slots, flags, None)?;
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
            Ok(count) => {
                self.offered = if count == offered { BATCH } else { (2 * count).clamp(MIN_OFFER, BATCH) };
                Ok(count == offered)
            }
            // Datagrams that could not be delivered earlier may be reported here; they are lost, as datagrams are.
            Err(
                Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH,
            ) => Ok(false),
            Err(errno) => Err(self.failed("receive", errno)),
        }
    }

    /// Sends datagrams in order; returns how many the operating system did not take.
    pub(super) fn send(&mut self, datagrams: &[(SocketAddr, &[u8])]) -> Result<u64, Error> {
        let fd = self.udp.as_raw_fd();
        send_all(
            datagrams,
            |batch| send_batch(fd, batch),
            || self.poll(PollFlags::POLLOUT, SEND_PATIENCE),
            |errno| self.failed("send", errno),
        )
    }

    /// How to call `recvmmsg` so that it waits for at most `patience`; a short time is waited for at once.
    fn prepare(&mut self, patience: Duration) -> Result<MsgFlags, Error> {
        if patience < COARSE {
            if !patience.is_zero() {
                self.poll(PollFlags::POLLIN, patience)?;
            }
            return Ok(MsgFlags::MSG_DONTWAIT);
        }
        if self.limit.is_none_or(|limit| limit > patience || limit < patience / 4) {
            // Half of what is allowed, so that it need not be set again for every timer that is set.
            let limit = patience / 2;
            self.udp
                .set_read_timeout(Some(limit))
                .map_err(|error| self.failed("set the time limit", error))?;
            self.limit = Some(limit);
        }
        Ok(MsgFlags::MSG_WAITFORONE)
    }

    /// Waits for an event; false when the time is over.
    fn poll(&self, events: PollFlags, patience: Duration) -> Result<bool, Error> {
        let mut fds = [PollFd::new(self.udp.as_fd(), events)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(patience)), None) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(self.failed("wait", errno)),
        }
    }
}

/// Ends a wait of a socket, from any thread.
#[derive(Debug)]
pub(super) struct Waker {
    udp: UdpSocket,
    /// Where the socket hears itself.
    address: SocketAddr,
}

impl Waker {
    pub(super) fn wake(&self) {
        let address = SockaddrStorage::from(self.address);
        // If it does not get through, the wait ends all the same, but later.
        let _ = sendto(self.udp.as_raw_fd(), &[], &address, MsgFlags::MSG_DONTWAIT);
    }

    /// Is this datagram a wake-up?
    pub(super) fn is_wake_up(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        datagram.is_empty() && from.port() == self.address.port() && from.ip() == self.address.ip()
    }
}

/// Sends datagrams in order by `send`, which takes the first ones of a batch; returns how many it did not take. If the
/// queue is full, `wait` says whether it has room again; if not, it is waited for only once.
fn send_all<E>(
    mut rest: &[(SocketAddr, &[u8])],
    mut send: impl FnMut(&[(SocketAddr, &[u8])]) -> Result<usize, Errno>,
    mut wait: impl FnMut() -> Result<bool, E>,
    failed: impl FnOnce(Errno) -> E,
) -> Result<u64, E> {
    let mut failures = 0;
    while !rest.is_empty() {
        let taken = match send(&rest[..rest.len().min(BATCH)]) {
            Ok(taken) => taken,
            Err(Errno::EINTR) => 0,
            Err(Errno::EAGAIN) if wait()? => 0,
            // The queue stays full, and timers are waiting.
            Err(Errno::EAGAIN) => return Ok(failures + rest.len() as u64),
            Err(errno @ (Errno::EBADF | Errno::ENOTSOCK | Errno::EFAULT)) => return Err(failed(errno)),
            // The first of them is refused: no route, a firewall.
            Err(_) => {
                failures += 1;
                1
            }
        };
        rest = &rest[taken..];
    }
    Ok(failures)
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

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

    #[test]
    fn a_queue_that_stays_full_costs_one_wait() {
        let datagrams = vec![(HERE, &b"datagram"[..]); 1000];
        let (mut room, mut refused, mut waits) = (300_usize, 0, 0);
        let send = |batch: &[(SocketAddr, &[u8])]| match room {
            0 => Err(Errno::EAGAIN),
            150 if refused == 0 => {
                refused += 1;
                Err(Errno::EPERM)
            }
            _ => {
                let taken = batch.len().min(50).min(room);
                room -= taken;
                Ok(taken)
            }
        };
        let wait = || {
            waits += 1;
            Ok::<_, Errno>(false)
        };
        assert_eq!(send_all(&datagrams, send, wait, |errno| errno), Ok(700));
        assert_eq!((waits, refused), (1, 1));

        let mut turns = 0;
        let send = |batch: &[(SocketAddr, &[u8])]| {
            turns += 1;
            if turns % 2 == 0 { Err(Errno::EAGAIN) } else { Ok(batch.len()) }
        };
        assert_eq!(send_all(&datagrams, send, || Ok(true), |errno| errno), Ok(0), "it is waited for again");
        assert_eq!(
            send_all(&datagrams, |_| Err(Errno::EBADF), || Ok(true), |errno| errno),
            Err(Errno::EBADF)
        );
    }

    #[test]
    fn the_receive_buffer_is_what_was_granted() {
        let bound = |len| Socket::bind_with(SocketAddr::new(HERE.ip(), 0), len).unwrap().receive_buffer();
        assert_eq!(bound(1 << 16), 1 << 16);
        assert!(bound(1) > 1, "the kernel has a minimum");
        let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse();
        let granted = bound(KERNEL_BUFFER_LEN);
        assert!(granted == KERNEL_BUFFER_LEN || Ok(granted) == limit, "{granted} of {limit:?}");
    }
}
