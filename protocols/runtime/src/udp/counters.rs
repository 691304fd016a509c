//! What a driver counts.

use super::kinds::Kinds;
use crate::Histogram;
use crate::storage::LogCounters;
use crate::wire::Refusal;
use serde::Serialize;

/// What a driver has done since it was built. All numbers but the first only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// How many bytes the kernel queues of what arrives. It is asked for 8 MiB; an unprivileged process is granted no more
    /// than `net.core.rmem_max`. What arrives when the queue is full is lost and not counted here.
    pub receive_buffer: u64,
    /// Rounds of the event loop.
    pub turns: u64,
    /// Steps of actors.
    pub steps: u64,
    /// Timers that fired.
    pub timeouts: u64,
    /// Datagrams received, good or bad.
    pub datagrams_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Calls that received at least one.
    pub receive_calls: u64,
    /// Messages delivered from other processes.
    pub messages_in: u64,
    /// Messages delivered within the process.
    pub messages_local: u64,
    /// Messages to other processes.
    pub messages_out: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Datagrams that the operating system did not take.
    pub send_failures: u64,
    /// Messages dropped because the turn had filled too many datagrams.
    pub send_overflows: u64,
    /// Messages to an actor whose address is not known.
    pub unknown_destinations: u64,
    /// Messages that no datagram can carry. Each is also reported.
    pub oversized: u64,
    /// Messages dropped because the queue inside the process was full.
    pub local_overflows: u64,
    /// Messages dropped because the application did not take them.
    pub outbox_overflows: u64,
    /// Datagrams and messages dropped on sending by injected faults.
    pub injected_drops: u64,
    /// Datagrams or messages refused, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Questions of other processes on how nodes stand that were answered.
    pub questions: u64,
    /// How long turns took in which actors stepped, the wait before them left out.
    pub turn_times: Histogram,
    /// Messages by kind.
    pub kinds: Kinds,
    /// What the log has done.
    pub log: LogCounters,
}

impl Counters {
    /// How often something was refused for this reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }

    pub(super) fn refuse(&mut self, reason: Refusal) {
        self.refused[reason as usize] += 1;
    }
}
