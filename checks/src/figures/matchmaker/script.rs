//! What is done to a cluster, and when: the paper's experiments.

/// What is done. Numbers are those of nodes within their role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Majorities of these acceptors are asked for.
    Acceptors([usize; 3]),
    /// These matchmakers are asked for.
    Matchmakers([usize; 3]),
    /// An acceptor stops for good.
    KillAcceptor(usize),
    /// A matchmaker stops for good.
    KillMatchmaker(usize),
    /// The leader stops for good.
    KillLeader,
}

/// A stretch of an experiment that is measured by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// What is going on.
    pub name: &'static str,
    /// From this second on.
    pub from: f64,
    /// Up to this one.
    pub to: f64,
}

/// An experiment. Its seconds may be made shorter; what takes time by itself, as a message, is not.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name, which is that of its files.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// How many seconds it takes.
    pub seconds: f64,
    /// What is done, and at which second.
    pub deeds: Vec<(f64, Deed)>,
    /// What is measured.
    pub phases: Vec<Phase>,
}

/// Ten draws of three out of six.
const DRAWN: [[usize; 3]; 10] = [
    [1, 3, 5],
    [0, 2, 4],
    [2, 3, 5],
    [0, 1, 4],
    [1, 4, 5],
    [0, 2, 3],
    [3, 4, 5],
    [0, 1, 2],
    [0, 3, 5],
    [1, 2, 4],
];

const QUIET: Phase = Phase { name: "quiet", from: 1.0, to: 10.0 };
const DURING: Phase = Phase { name: "one a second", from: 10.0, to: 20.0 };

/// The draws, one a second from the tenth on.
fn drawn(deed: fn([usize; 3]) -> Deed) -> Vec<(f64, Deed)> {
    (10_u8..).map(f64::from).zip(DRAWN.into_iter().map(deed)).collect()
}

/// Acceptors are exchanged every second from 10 to 20; one is killed at 25 and replaced at 30.
pub(super) fn acceptors() -> Script {
    let failure = [(25.0, Deed::KillAcceptor(4)), (30.0, Deed::Acceptors([0, 1, 2]))];
    Script {
        name: "acceptors",
        title: "E1: acceptors are exchanged every second, one fails, and is replaced",
        seconds: 35.0,
        deeds: drawn(Deed::Acceptors).into_iter().chain(failure).collect(),
        phases: vec![
            QUIET,
            DURING,
            Phase { name: "one is dead", from: 25.0, to: 30.0 },
            Phase { name: "replaced", from: 30.0, to: 35.0 },
        ],
    }
}

/// The leader is killed at 7.
pub(super) fn leader() -> Script {
    Script {
        name: "leader",
        title: "E2: the leader fails",
        seconds: 20.0,
        deeds: vec![(7.0, Deed::KillLeader)],
        phases: vec![
            Phase { name: "before", from: 1.0, to: 7.0 },
            Phase { name: "election", from: 7.0, to: 12.0 },
            Phase { name: "after", from: 14.0, to: 20.0 },
        ],
    }
}

/// Matchmakers are exchanged every second from 10 to 20; one is killed at 25 and replaced at 30; acceptors are exchanged at 35.
pub(super) fn matchmakers() -> Script {
    let failure = [
        (25.0, Deed::KillMatchmaker(4)),
        (30.0, Deed::Matchmakers([0, 1, 2])),
        (35.0, Deed::Acceptors([1, 3, 5])),
    ];
    Script {
        name: "matchmakers",
        title: "E3: matchmakers are exchanged every second, one fails, and is replaced",
        seconds: 40.0,
        deeds: drawn(Deed::Matchmakers).into_iter().chain(failure).collect(),
        phases: vec![
            QUIET,
            DURING,
            Phase { name: "one is dead", from: 25.0, to: 30.0 },
            Phase { name: "replaced", from: 30.0, to: 40.0 },
        ],
    }
}

/// Acceptors are exchanged five times, three seconds apart.
pub(super) fn ablation() -> Script {
    let times = (0_u8..).map(|number| 3.0 + 3.0 * f64::from(number));
    Script {
        name: "ablation",
        title: "Ablation: matchmakers' and phase 1's answers are 250 ms late",
        seconds: 18.0,
        deeds: times.zip(DRAWN.into_iter().take(5).map(Deed::Acceptors)).collect(),
        phases: vec![
            Phase { name: "quiet", from: 1.0, to: 3.0 },
            Phase { name: "every three seconds", from: 3.0, to: 18.0 },
        ],
    }
}
