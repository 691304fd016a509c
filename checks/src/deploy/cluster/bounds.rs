//! How long to wait for what, and what is bounded: the tables `[times]` and `[limits]` of a cluster file.

use crate::settings::{Fields, Placed, Problems};
use parthood_protocols::{bpaxos, compartmentalized, multipaxos};
use std::ops::Range;
use std::time::Duration;

/// Durations, in milliseconds. They matter for speed and liveness only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "the names in the file, with their unit")]
pub struct Times {
    election_ms: (u64, u64),
    ping_ms: u64,
    resend_ms: u64,
    catch_up_ms: u64,
    batch_ms: u64,
    retry_ms: (u64, u64),
}

/// Limits of a node. What they begin with depends on the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    window_slots: u64,
    batch_commands: u64,
    waiting_commands: u64,
    lanes: u64,
    snapshot_slots: u64,
    retained_slots: u64,
    watermark_slots: u64,
    read_batch: u64,
}

impl Default for Times {
    fn default() -> Self {
        let compartmentalized::Timing { election, ping, resend, catch_up, batch, .. } =
            compartmentalized::Timing::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            election_ms: (millis(election.start), millis(election.end)),
            ping_ms: millis(ping),
            resend_ms: millis(resend),
            catch_up_ms: millis(catch_up),
            batch_ms: millis(batch),
            retry_ms: (100, 200),
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { window_slots: multipaxos::Limits::default().window_slots as u64, ..Self::in_parts() }
    }
}

impl Times {
    pub(in crate::deploy) fn timing(self, sizes: Sizes) -> multipaxos::Timing {
        let compartmentalized::Timing { election, ping, resend, catch_up, gather, .. } =
            self.timing_in_parts(sizes);
        multipaxos::Timing { election, ping, resend, catch_up, gather }
    }

    pub(in crate::deploy) fn timing_in_parts(self, sizes: Sizes) -> compartmentalized::Timing {
        compartmentalized::Timing {
            election: range(self.election_ms),
            ping: Duration::from_millis(self.ping_ms),
            resend: Duration::from_millis(self.resend_ms),
            catch_up: Duration::from_millis(self.catch_up_ms),
            batch: Duration::from_millis(self.batch_ms),
            gather: sizes.gather(),
        }
    }

    /// A vertex that somebody waits for is recovered when its client would ask again, or a little later.
    pub(in crate::deploy) fn timing_of_a_graph(self, sizes: Sizes) -> bpaxos::Timing {
        let (from, to) = self.retry_ms;
        bpaxos::Timing {
            resend: Duration::from_millis(self.resend_ms),
            backoff: self.resend(),
            recover: range((from, to.saturating_mul(2))),
            catch_up: Duration::from_millis(self.catch_up_ms),
            gather: sizes.gather(),
        }
    }

    pub(in crate::deploy) fn retry(self) -> Range<Duration> {
        range(self.retry_ms)
    }

    /// A random time, so that two who overtake one another do not do so for ever.
    pub(in crate::deploy) fn resend(self) -> Range<Duration> {
        range((self.resend_ms, self.resend_ms.saturating_mul(2)))
    }
}

fn range((from, to): (u64, u64)) -> Range<Duration> {
    Duration::from_millis(from)..Duration::from_millis(to)
}

impl Sizes {
    /// Where a slot holds one command nothing is gained by waiting for others.
    fn gather(self) -> Option<Duration> {
        multipaxos::Timing::default().gather.filter(|_| self.batch_commands > 1)
    }

    /// What [`parthood_protocols::compartmentalized`] begins with: its leader hears only now and then how far everything is
    /// chosen, so its window is wide.
    pub(in crate::deploy) fn in_parts() -> Self {
        let limits = compartmentalized::Limits::default();
        Self {
            window_slots: limits.window_slots,
            batch_commands: limits.batch_commands as u64,
            waiting_commands: limits.waiting_commands as u64,
            lanes: limits.lanes as u64,
            snapshot_slots: limits.snapshot_slots,
            retained_slots: limits.retained_slots,
            watermark_slots: limits.watermark_slots,
            read_batch: limits.read_batch as u64,
        }
    }

    /// The most lanes of all clients together.
    pub(super) fn lanes(self) -> u64 {
        self.lanes
    }

    /// As the coupled protocol wants them.
    pub(in crate::deploy) fn limits(self) -> multipaxos::Limits {
        multipaxos::Limits {
            window_slots: count(self.window_slots),
            batch_commands: count(self.batch_commands),
            waiting_commands: count(self.waiting_commands),
            lanes: count(self.lanes),
            snapshot_slots: self.snapshot_slots,
            retained_slots: self.retained_slots,
            ..multipaxos::Limits::default()
        }
    }

    /// As the protocol in parts wants them.
    pub(in crate::deploy) fn limits_in_parts(self) -> compartmentalized::Limits {
        compartmentalized::Limits {
            window_slots: self.window_slots,
            batch_commands: count(self.batch_commands),
            waiting_commands: count(self.waiting_commands),
            lanes: count(self.lanes),
            snapshot_slots: self.snapshot_slots,
            retained_slots: self.retained_slots,
            watermark_slots: self.watermark_slots,
            read_batch: count(self.read_batch),
            ..compartmentalized::Limits::default()
        }
    }

    /// What [`parthood_protocols::bpaxos`] begins with; what others call a slot is a vertex there.
    pub(in crate::deploy) fn of_a_graph() -> Self {
        let limits = bpaxos::Limits::default();
        Self {
            window_slots: limits.window_vertices as u64,
            snapshot_slots: limits.snapshot_vertices,
            retained_slots: limits.retained_vertices as u64,
            ..Self::in_parts()
        }
    }

    /// As the protocol with a graph wants them.
    pub(in crate::deploy) fn limits_of_a_graph(self) -> bpaxos::Limits {
        bpaxos::Limits {
            window_vertices: count(self.window_slots),
            batch_commands: count(self.batch_commands),
            waiting_commands: count(self.waiting_commands),
            lanes: count(self.lanes),
            snapshot_vertices: self.snapshot_slots,
            retained_vertices: count(self.retained_slots),
            ..bpaxos::Limits::default()
        }
    }

    /// Their names in the file, what they mean, and their values.
    pub(super) fn fields(&mut self) -> [(&'static str, &'static str, &mut u64); 8] {
        [
            (
                "window_slots",
                "slots that a leader has outstanding; what arrives meanwhile shares the next slot",
                &mut self.window_slots,
            ),
            ("batch_commands", "commands in a slot", &mut self.batch_commands),
            (
                "waiting_commands",
                "commands that wait; more are answered \"busy\"",
                &mut self.waiting_commands,
            ),
            ("lanes", "lanes of all clients together", &mut self.lanes),
            ("snapshot_slots", "slots between two snapshots", &mut self.snapshot_slots),
            ("retained_slots", "slots kept for others before a snapshot", &mut self.retained_slots),
            (
                "watermark_slots",
                "slots after which leaders are told how far everything is chosen, where they do not execute",
                &mut self.watermark_slots,
            ),
            ("read_batch", "reads that a read batcher sends on together", &mut self.read_batch),
        ]
    }
}

/// A number that was read as one of 32 bits.
pub(in crate::deploy) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn times(top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Times {
    let mut times = Times::default();
    let Some(mut table) = top.table("times", problems) else { return times };
    let mut span = |key, value: &mut (u64, u64), problems: &mut Problems<'_>| {
        let Some(Placed { value: read, place }) = table.optional::<(u64, u64)>(key, problems) else { return };
        if read.0 == 0 || read.0 >= read.1 {
            problems.note(&place, format!("`{key}` must be [from, to] with 0 < from < to"));
        }
        *value = read;
    };
    span("election_ms", &mut times.election_ms, problems);
    span("retry_ms", &mut times.retry_ms, problems);
    let mut single = |key, value: &mut u64, problems: &mut Problems<'_>| {
        let Some(Placed { value: read, place }) = table.optional::<u64>(key, problems) else { return };
        if read == 0 {
            problems.note(&place, format!("`{key}` must be at least 1"));
        }
        *value = read;
    };
    single("ping_ms", &mut times.ping_ms, problems);
    single("resend_ms", &mut times.resend_ms, problems);
    single("catch_up_ms", &mut times.catch_up_ms, problems);
    single("batch_ms", &mut times.batch_ms, problems);
    table.finish(problems);
    times
}

/// What the file says, and where it says nothing `sizes`.
pub(super) fn sizes(top: &mut Fields<'_>, mut sizes: Sizes, problems: &mut Problems<'_>) -> Sizes {
    let Some(mut table) = top.table("limits", problems) else { return sizes };
    for (key, _, field) in sizes.fields() {
        let Some(Placed { value, place }) = table.optional::<u32>(key, problems) else { continue };
        if value == 0 {
            problems.note(&place, format!("`{key}` must be at least 1"));
        }
        *field = value.into();
    }
    table.finish(problems);
    sizes
}
