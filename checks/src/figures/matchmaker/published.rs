//! What the paper measured. Quartiles are those of its statistics files: the columns "IQR" of its tables are the third quartile
//! less the median.

/// Published numbers of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Published {
    /// The median latency in milliseconds.
    pub latency_ms: Option<f64>,
    /// Its quartiles.
    pub latency_quartiles_ms: Option<(f64, f64)>,
    /// The median throughput in commands per second.
    pub per_second: Option<f64>,
    /// Its quartiles.
    pub quartiles_per_second: Option<(f64, f64)>,
}

type Quartiles = (f64, f64, f64);

const fn whole(latency: Quartiles, throughput: Quartiles) -> Published {
    Published {
        latency_ms: Some(latency.1),
        latency_quartiles_ms: Some((latency.0, latency.2)),
        per_second: Some(throughput.1),
        quartiles_per_second: Some((throughput.0, throughput.2)),
    }
}

const fn medians(latency_ms: f64, per_second: f64) -> Published {
    Published {
        latency_ms: Some(latency_ms),
        latency_quartiles_ms: None,
        per_second: Some(per_second),
        quartiles_per_second: None,
    }
}

const fn throughput(per_second: f64) -> Published {
    let (latency_ms, latency_quartiles_ms, quartiles_per_second) = (None, None, None);
    Published { latency_ms, latency_quartiles_ms, per_second: Some(per_second), quartiles_per_second }
}

/// By experiment, system, clients and phase. Acceptors that failed are asked in vain half of the time in the paper, whose leaders
/// ask two of three; ours ask all.
const ALL: &[(&str, &str, usize, &str, Published)] = &[
    ("acceptors", "matchmaker", 1, "quiet", whole((0.274, 0.292, 0.332), (2906.0, 2995.0, 3147.0))),
    ("acceptors", "matchmaker", 1, "one a second", whole((0.272, 0.287, 0.313), (3087.0, 3177.0, 3230.0))),
    ("acceptors", "matchmaker", 4, "quiet", whole((0.296, 0.317, 0.347), (11_562.0, 11_874.0, 12_049.0))),
    (
        "acceptors",
        "matchmaker",
        4,
        "one a second",
        whole((0.298, 0.321, 0.356), (11_145.0, 11_478.0, 11_623.0)),
    ),
    ("acceptors", "matchmaker", 8, "quiet", whole((0.368, 0.398, 0.434), (18_907.0, 19_146.0, 19_286.0))),
    (
        "acceptors",
        "matchmaker",
        8,
        "one a second",
        whole((0.377, 0.410, 0.448), (18_008.0, 18_446.0, 18_819.0)),
    ),
    ("acceptors", "matchmaker", 1, "one is dead", medians(1.59, 827.0)),
    ("acceptors", "matchmaker", 4, "one is dead", medians(1.70, 2496.0)),
    ("acceptors", "matchmaker", 1, "replaced", throughput(3131.0)),
    ("acceptors", "matchmaker", 4, "replaced", throughput(11_500.0)),
    ("acceptors", "horizontal, window 8", 1, "quiet", medians(0.218, 4358.0)),
    ("acceptors", "horizontal, window 8", 1, "one a second", medians(0.215, 4434.0)),
    ("acceptors", "horizontal, window 8", 1, "one is dead", medians(1.48, 903.0)),
    ("acceptors", "horizontal, window 8", 1, "replaced", throughput(4490.0)),
    ("leader", "matchmaker", 1, "before", throughput(3938.0)),
    ("leader", "matchmaker", 4, "before", throughput(12_530.0)),
    ("leader", "matchmaker", 8, "before", throughput(15_960.0)),
    ("leader", "horizontal, window 8", 1, "before", throughput(3542.0)),
    ("leader", "horizontal, window 8", 4, "before", throughput(11_340.0)),
    ("leader", "horizontal, window 8", 8, "before", throughput(13_240.0)),
    ("matchmakers", "matchmaker", 1, "quiet", medians(0.297, 3019.0)),
    ("matchmakers", "matchmaker", 1, "one a second", medians(0.292, 3147.0)),
    ("matchmakers", "matchmaker", 4, "quiet", medians(0.314, 11_631.0)),
    ("matchmakers", "matchmaker", 4, "one a second", medians(0.313, 11_726.0)),
    ("matchmakers", "matchmaker", 8, "quiet", medians(0.404, 18_569.0)),
    ("matchmakers", "matchmaker", 8, "one a second", medians(0.398, 19_248.0)),
    ("matchmakers", "matchmaker", 1, "one is dead", throughput(3167.0)),
    ("matchmakers", "matchmaker", 1, "replaced", medians(0.287, 3227.0)),
];

/// What the paper says of a phase.
pub fn published(experiment: &str, system: &str, clients: usize, phase: &str) -> Option<Published> {
    let found = ALL
        .iter()
        .find(|(of, name, count, at, _)| (*of, *name, *count, *at) == (experiment, system, clients, phase));
    found.map(|(.., published)| *published)
}
