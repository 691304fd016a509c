//! The metrics of a process: each family once, with a sample for each event loop or node.

use crate::Histogram;
use crate::udp::{Counters, Standing, View};
use crate::wire::Refusal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Instant;

type Labels = Vec<(&'static str, String)>;
/// A name, its help, and the value of a node that has one.
type NodeGauge = (&'static str, &'static str, fn(&Standing) -> Option<u64>);

/// What the metrics are of, as of one moment.
#[derive(Debug)]
struct Seen {
    loops: Vec<(String, View)>,
    nodes: Vec<String>,
    clients: Vec<Histogram>,
    now: Instant,
}

pub(super) fn text(
    loops: Vec<(String, View)>,
    nodes: Vec<String>,
    clients: Vec<Histogram>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Seen { loops, nodes, clients, now: Instant::now() }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Writes families.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in samples {
            let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
            let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

impl Collector for Seen {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.loops(&mut families)?;
        self.network(&mut families)?;
        self.storage(&mut families)?;
        self.nodes(&mut families)?;
        if !self.clients.is_empty() {
            let clients = self.clients.iter().enumerate();
            let clients = clients.map(|(number, times)| (vec![("client", number.to_string())], *times));
            let help = "How long commands took, as a client in this process sees it.";
            families.histograms("parthood_client_command_seconds", help, clients)?;
        }
        Ok(())
    }
}

impl Seen {
    /// A sample for each event loop.
    fn each<V>(&self, value: impl Fn(&View) -> V) -> impl Iterator<Item = (Labels, V)> {
        self.loops.iter().map(move |(name, view)| (vec![("loop", name.clone())], value(view)))
    }

    /// Some samples for each event loop, which a label tells apart.
    fn several<V>(
        &self,
        label: &'static str,
        values: impl Fn(&View) -> Vec<(&'static str, V)>,
    ) -> impl Iterator<Item = (Labels, V)> {
        self.loops.iter().flat_map(move |(name, view)| {
            let labelled = move |(kind, value): (&'static str, V)| {
                (vec![("loop", name.clone()), (label, kind.to_owned())], value)
            };
            values(view).into_iter().map(labelled)
        })
    }

    fn loops(&self, families: &mut Families<'_>) -> fmt::Result {
        families.counters(
            "parthood_turns",
            "Rounds of the event loop.",
            self.each(|view| view.counters.turns),
        )?;
        families.counters("parthood_steps", "Steps of actors.", self.each(|view| view.counters.steps))?;
        families.counters(
            "parthood_timeouts",
            "Timers that fired.",
            self.each(|view| view.counters.timeouts),
        )?;
        families.histograms(
            "parthood_turn_seconds",
            "How long turns took in which actors stepped, from the end of the wait to the last datagram.",
            self.each(|view| view.counters.turn_times),
        )?;
        let queues = |view: &View| {
            let queues = view.queues;
            vec![
                ("local", queues.local as u64),
                ("outbox", queues.outbox as u64),
                ("timers", queues.timers as u64),
            ]
        };
        families.gauges(
            "parthood_queue_length",
            "What waits in the event loop.",
            self.several("queue", queues),
        )
    }

    fn network(&self, families: &mut Families<'_>) -> fmt::Result {
        let ways = |received, sent| vec![("received", received), ("sent", sent)];
        families.counters(
            "parthood_datagrams",
            "Datagrams, good or bad.",
            self.several("way", |view| ways(view.counters.datagrams_in, view.counters.datagrams_out)),
        )?;
        families.counters(
            "parthood_datagram_bytes",
            "Bytes of datagrams.",
            self.several("way", |view| ways(view.counters.bytes_in, view.counters.bytes_out)),
        )?;
        families.counters("parthood_messages", "Messages of actors by kind.", self.messages())?;
        families.counters(
            "parthood_dropped",
            "Datagrams and messages that were dropped.",
            self.several("reason", |view| drops(&view.counters)),
        )?;
        families.counters(
            "parthood_standing_questions",
            "Questions on how nodes stand that were answered.",
            self.each(|view| view.counters.questions),
        )?;
        families.gauges(
            "parthood_receive_buffer_bytes",
            "What the kernel queues of what arrives; what comes when it is full is lost uncounted.",
            self.each(|view| view.counters.receive_buffer),
        )
    }

    fn messages(&self) -> impl Iterator<Item = (Labels, u64)> {
        self.loops.iter().flat_map(|(name, view)| {
            view.counters.kinds.iter().flat_map(move |one| {
                let kind = one.inner.map_or(one.name.to_owned(), |inner| format!("{}.{inner}", one.name));
                [("received", one.received), ("local", one.local), ("sent", one.sent)].map(|(way, count)| {
                    (vec![("loop", name.clone()), ("way", way.to_owned()), ("kind", kind.clone())], count)
                })
            })
        })
    }

    fn storage(&self, families: &mut Families<'_>) -> fmt::Result {
        families.counters(
            "parthood_log_written_bytes",
            "Bytes appended to the log.",
            self.each(|view| view.counters.log.bytes),
        )?;
        families.counters(
            "parthood_log_records",
            "Records appended to the log.",
            self.each(|view| view.counters.log.records),
        )?;
        families.counters(
            "parthood_log_groups",
            "Groups of records appended to the log, one for a turn that saves.",
            self.each(|view| view.counters.log.groups),
        )?;
        families.histograms(
            "parthood_fsync_seconds",
            "How long the log waited for the disk, once for each group.",
            self.each(|view| view.counters.log.sync_times),
        )?;
        families.gauges(
            "parthood_log_size_bytes",
            "Bytes of the log since the last snapshot was begun.",
            self.each(|view| view.counters.log.log_len),
        )?;
        families.gauges(
            "parthood_snapshot_size_bytes",
            "Bytes of the last snapshot of the log.",
            self.each(|view| view.counters.log.snapshot_len),
        )?;
        families.counters(
            "parthood_snapshots",
            "Snapshots of the log.",
            self.several("result", |view| {
                let log = view.counters.log;
                vec![("done", log.snapshots), ("failed", log.failed_snapshots)]
            }),
        )
    }

    fn name(&self, node: u64) -> String {
        let name = usize::try_from(node).ok().and_then(|node| self.nodes.get(node));
        name.cloned().unwrap_or_else(|| node.to_string())
    }

    /// A sample for each node that has a value.
    fn standing<V>(&self, value: impl Fn(&Standing) -> Option<V>) -> impl Iterator<Item = (Labels, V)> {
        let nodes = self.loops.iter().flat_map(|(_, view)| &view.standings);
        nodes.filter_map(move |(node, standing)| Some((vec![("node", self.name(*node))], value(standing)?)))
    }

    fn nodes(&self, families: &mut Families<'_>) -> fmt::Result {
        families.gauges(
            "parthood_leads",
            "1 if the node leads, as far as it knows.",
            self.standing(|standing| Some(u64::from(standing.leads))),
        )?;
        let nodes = self.loops.iter().flat_map(|(_, view)| &view.standings);
        let leaders = nodes.filter_map(|(node, standing)| {
            let leader = self.name(standing.leader?);
            Some((vec![("node", self.name(*node)), ("leader", leader)], 1_u64))
        });
        families.gauges("parthood_leader", "Whom the node takes for the leader; always 1.", leaders)?;
        let some: [NodeGauge; 6] = [
            (
                "parthood_round",
                "The largest round that the node has heard of, or the first number of it.",
                |one| one.round.map(|round| round[0]),
            ),
            ("parthood_executed", "Slots, vertices or writes that the node has executed.", |one| {
                one.executed
            }),
            ("parthood_client_lanes", "Lanes of clients in the node's table.", |one| one.lanes),
            ("parthood_commands_queued", "Commands that wait at the node to be proposed.", |one| one.queued),
            ("parthood_proposals_outstanding", "Proposals of the node not known to be chosen.", |one| {
                one.outstanding
            }),
            ("parthood_log_entries", "Entries of the log, or votes, that the node keeps.", |one| one.log),
        ];
        for (name, help, value) in some {
            families.gauges(name, help, self.standing(value))?;
        }
        let heard = self.loops.iter().flat_map(|(name, view)| {
            view.told.iter().map(move |(node, told)| {
                let silence = self.now.saturating_duration_since(told.at).as_secs_f64();
                (vec![("loop", name.clone()), ("node", self.name(*node))], silence)
            })
        });
        families.gauges("parthood_silence_seconds", "How long ago another node answered last.", heard)
    }
}

/// What was dropped, by reason.
fn drops(counters: &Counters) -> Vec<(&'static str, u64)> {
    let refused = Refusal::ALL.map(|reason| (name_of(reason), counters.refused(reason)));
    let others = [
        ("send_failed", counters.send_failures),
        ("send_overflow", counters.send_overflows),
        ("unknown_destination", counters.unknown_destinations),
        ("too_long", counters.oversized),
        ("local_overflow", counters.local_overflows),
        ("outbox_overflow", counters.outbox_overflows),
        ("injected", counters.injected_drops),
    ];
    refused.into_iter().chain(others).collect()
}

fn name_of(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Length => "length",
        Refusal::Magic => "magic",
        Refusal::Version => "version",
        Refusal::Cluster => "cluster",
        Refusal::Forged => "forged",
        Refusal::Malformed => "malformed",
        Refusal::Source => "source",
        Refusal::Destination => "destination",
        Refusal::Fault => "fault",
        Refusal::Stale => "stale",
    }
}
