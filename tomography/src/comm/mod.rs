//! Messages between the workers of one reconstruction.
//!
//! A back end moves bytes: from rank to rank, whole, once, and in the order sent between any two ranks. What was sent
//! arrives, whatever its sender does next. There is no reduction of floats here on purpose: a back end would add in an order of its own, and sums are ours ([`crate::sum`]).
//! Whoever waits for a worker that is gone is told so, instead of waiting for ever.
//!
//! [`threads`] runs all ranks in one process, `mpi` (a feature) one rank of those that MPI has started. [`storm`] makes any
//! back end unkind, for tests.

#[cfg(feature = "mpi")]
pub mod mpi;
pub mod storm;
pub mod threads;

use crate::{Error, Result};

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes from a rank.
    Message {
        /// Who sent them.
        from: usize,
        /// What was sent.
        bytes: Vec<u8>,
    },
    /// A rank is gone. Nothing of it follows.
    Lost {
        /// Which.
        rank: usize,
    },
}

/// One worker's connection to the others.
pub trait Comm: Send {
    /// Which worker this is, from 0.
    fn rank(&self) -> usize;

    /// How many workers there are.
    fn size(&self) -> usize;

    /// Sends bytes to a rank; does not wait until they are received.
    ///
    /// # Errors
    /// [`Error::Lost`] if that rank is gone.
    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<()>;

    /// Waits for the next message of one rank. Messages of others are kept for later.
    ///
    /// # Errors
    /// [`Error::Lost`] if that rank is gone and has left nothing unread.
    fn recv(&mut self, from: usize) -> Result<Vec<u8>>;

    /// Waits for whatever comes next from anyone.
    ///
    /// # Errors
    /// [`Error::Lost`] if nothing can come any more.
    fn recv_any(&mut self) -> Result<Event>;

    /// Takes what has come from anyone, without waiting.
    ///
    /// # Errors
    /// [`Error::Lost`] if nothing can come any more.
    fn try_recv_any(&mut self) -> Result<Option<Event>>;

    /// Waits until every rank is here.
    ///
    /// # Errors
    /// [`Error::Lost`] if a rank is gone.
    fn barrier(&mut self) -> Result<()> {
        self.gather(Vec::new()).map(drop)?;
        self.broadcast(Vec::new()).map(drop)
    }

    /// Brings the bytes of all ranks to rank 0, in the order of ranks; nothing elsewhere.
    ///
    /// # Errors
    /// [`Error::Lost`] if a rank is gone.
    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        if self.rank() != 0 {
            self.send(0, own)?;
            return Ok(Vec::new());
        }
        let others = (1..self.size()).map(|rank| self.recv(rank)).collect::<Result<Vec<_>>>()?;
        Ok(std::iter::once(own).chain(others).collect())
    }

    /// Brings the bytes of rank 0 to all ranks.
    ///
    /// # Errors
    /// [`Error::Lost`] if a rank is gone.
    fn broadcast(&mut self, own: Vec<u8>) -> Result<Vec<u8>> {
        if self.rank() != 0 {
            return self.recv(0);
        }
        for rank in 1..self.size() {
            self.send(rank, own.clone())?;
        }
        Ok(own)
    }
}

/// Numbers as bytes, least significant first.
pub(crate) fn encode_f64(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Numbers from bytes.
pub(crate) fn decode_f64(bytes: &[u8], rank: usize) -> Result<Vec<f64>> {
    let (values, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Error::Message { rank, what: "half a number" });
    }
    Ok(values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}
