//! The figures of the compartmentalization paper, section 7, and its published numbers.
//!
//! Published numbers are those of the raw data where there are any. Sizes are as in the data: with reads a grid of as many
//! rows as replicas and two columns, weak reads with three acceptors.

use super::systems::{Batching, Parts, Shape, System, Workload};
use super::{Costs, Drawn, Figure, Point};
use crate::draw::float;
use crate::error::Error;
use parthood_protocols::compartmentalized::Consistency;
use rayon::prelude::*;

const THREE: Shape = Shape::Majority(3);
const COUPLED: System = System::Coupled { servers: 3, batch: 1 };
/// As in the paper's experiments.
const VALUE_BYTES: usize = 16;
/// The coupled curve of the paper is that of an earlier draft, with another state machine and other machines.
const COUPLED_DOUBT: &str = "measured with another state machine and other machines, says the raw data";

/// A point to be measured.
struct Wanted {
    series: String,
    x: f64,
    system: System,
    workload: Workload,
    published: Option<f64>,
    doubt: Option<&'static str>,
}

pub(super) fn writes(clients: usize) -> Workload {
    let consistency = Consistency::Linearizable;
    Workload { clients, reads: 0.0, consistency, skew: 0.0, value_bytes: VALUE_BYTES, many_keys: false }
}

fn parts(shape: Shape, proxies: usize, replicas: usize) -> System {
    System::Parts(Parts { leaders: 2, shape, proxies, replicas, batching: Batching::NONE })
}

/// What a system is, in words.
fn label(system: &System) -> String {
    match system {
        System::Unreplicated(batching) => format!("one server{batching}"),
        System::Coupled { servers, batch: 1 } => format!("{servers} servers"),
        System::Coupled { servers, batch } => format!("{servers} servers, batches of {batch}"),
        System::Parts(Parts { leaders, shape, proxies, replicas, batching }) => {
            format!("{leaders} leaders, {proxies} proxy leaders, {shape}, {replicas} replicas{batching}")
        }
        System::Chain { nodes } => format!("a chain of {nodes}"),
    }
}

/// What a system is, in a few letters.
fn tick(system: &System) -> String {
    match system {
        System::Unreplicated(_) => "alone".into(),
        System::Coupled { .. } => "coupled".into(),
        System::Parts(Parts { batching, .. }) if batching.commands > 1 => {
            format!("{} / {}", batching.commands, batching.unbatchers)
        }
        System::Parts(Parts { proxies, replicas, .. }) => format!("{proxies} + {replicas}"),
        System::Chain { nodes } => format!("chain {nodes}"),
    }
}

fn point(series: &str, x: f64, system: System, workload: Workload, thousands: f64) -> Wanted {
    let published = (thousands > 0.0).then_some(thousands * 1e3);
    Wanted { series: series.into(), x, system, workload, published, doubt: None }
}

fn measure(
    name: &'static str,
    title: &'static str,
    x: &'static str,
    wanted: Vec<Wanted>,
    costs: Costs,
) -> Result<Figure, Error> {
    let measured = wanted.into_par_iter().map(|wanted| {
        let Wanted { series, x, system, workload, published, doubt } = wanted;
        let measured = system.run(&workload, costs)?;
        Ok(Point { series, label: label(&system), tick: tick(&system), x, measured, published, doubt })
    });
    let points = measured.collect::<Result<Vec<_>, Error>>()?;
    Ok(Figure { name, title, x, drawn: Drawn::Lines, points })
}

/// One decomposition after the other, writes only, 500 clients (section 7.3 and figure 9).
///
/// # Errors
/// When a run comes to a stop.
pub fn ablation(costs: Costs) -> Result<Figure, Error> {
    let published = [
        (COUPLED, 25.0),
        (parts(THREE, 2, 2), 70.0),
        (parts(THREE, 3, 2), 95.0),
        (parts(THREE, 4, 2), 119.0),
        (parts(THREE, 5, 2), 129.0),
        (parts(THREE, 6, 2), 135.0),
        (parts(THREE, 7, 2), 135.0),
        (parts(THREE, 7, 3), 142.0),
        (parts(THREE, 8, 3), 144.0),
        (parts(THREE, 9, 3), 150.0),
        (parts(THREE, 10, 3), 160.0),
    ];
    let wanted = (0_u8..).zip(published).map(|(step, (system, thousands))| Wanted {
        doubt: (system == COUPLED).then_some(COUPLED_DOUBT),
        ..point("writes", step.into(), system, writes(500), thousands)
    });
    let title = "One part after the other is multiplied";
    let x = "proxy leaders + replicas";
    Ok(Figure { drawn: Drawn::Bars, ..measure("ablation", title, x, wanted.collect(), costs)? })
}

/// The same with batches: their size first, then unbatchers (section 7.3 and figure 9). Batches are of 40 where commands are
/// not taken apart, as in the paper.
///
/// # Errors
/// When a run comes to a stop.
pub fn batched(costs: Costs) -> Result<Figure, Error> {
    let batches = |commands, unbatchers| {
        let batching = Batching { batchers: 2, unbatchers, commands };
        System::Parts(Parts { leaders: 2, shape: THREE, proxies: 2, replicas: 2, batching })
    };
    let published = [
        (System::Coupled { servers: 3, batch: 40 }, 214.0),
        (batches(10, 2), 292.0),
        (batches(50, 2), 357.0),
        (batches(100, 2), 446.0),
        (batches(100, 3), 706.0),
        (batches(100, 4), 730.0),
        (batches(100, 5), 729.0),
    ];
    let ablation = (0_u8..).zip(published).map(|(step, (system, thousands))| Wanted {
        doubt: matches!(system, System::Coupled { .. }).then_some(COUPLED_DOUBT),
        ..point("writes", step.into(), system, writes(4_000), thousands)
    });
    let doubt = Some("the ablation says 706,000 of the same deployment with more clients");
    let fewer = Wanted { doubt, ..point("3,000 clients", 7.0, batches(100, 3), writes(3_000), 790.0) };
    let alone = System::Unreplicated(Batching { batchers: 2, unbatchers: 4, commands: 100 });
    let alone = point("unreplicated", 8.0, alone, writes(4_000), 1_037.0);
    let wanted = ablation.chain([fewer, alone]);
    let (title, x) = ("Batches, and more to take them apart", "commands in a batch / unbatchers");
    Ok(Figure { drawn: Drawn::Bars, ..measure("batched", title, x, wanted.collect(), costs)? })
}

/// Larger values (section 7.1).
///
/// # Errors
/// When a run comes to a stop.
pub fn values(costs: Costs) -> Result<Figure, Error> {
    let grid = parts(Shape::Grid { rows: 2, columns: 2 }, 10, 4);
    let published = [(16, 150.0, 250.0), (100, 136.0, 207.0), (1_000, 58.0, 75.0)];
    let wanted = published.into_iter().flat_map(|(value_bytes, of_parts, alone)| {
        let workload = Workload { value_bytes, ..writes(1_000) };
        let x = float(value_bytes);
        [
            point("compartmentalized", x, grid.clone(), workload, of_parts),
            point("unreplicated", x, System::Unreplicated(Batching::NONE), workload, alone),
        ]
    });
    measure("values", "Larger values", "bytes in a value", wanted.collect(), costs)
}

/// Shares of reads in percent, and thousands of commands per second for two to six replicas.
type Published = [(f64, [f64; 5]); 3];

/// The deployments that share of reads was measured with: proxy leaders for two to six replicas.
fn proxies(share: f64) -> [usize; 5] {
    match share {
        ..1.0 => [6, 8, 9, 10, 11],
        ..61.0 => [7, 7, 7, 11, 11],
        ..91.0 => [5; 5],
        _ => [2; 5],
    }
}

const LINEARIZABLE: Published = [
    (60.0, [138.0, 180.0, 211.0, 229.0, 245.0]),
    (90.0, [162.0, 222.0, 277.0, 329.0, 380.0]),
    (100.0, [254.0, 355.0, 456.0, 566.0, 664.0]),
];
const SEQUENTIAL: Published = [
    (60.0, [163.0, 199.0, 226.0, 254.0, 262.0]),
    (90.0, [208.0, 273.0, 334.0, 376.0, 419.0]),
    (100.0, [256.0, 374.0, 472.0, 577.0, 687.0]),
];
const EVENTUAL: Published = [
    (60.0, [174.0, 219.0, 239.0, 251.0, 280.0]),
    (90.0, [223.0, 301.0, 373.0, 415.0, 477.0]),
    (100.0, [270.0, 380.0, 482.0, 591.0, 664.0]),
];
const WRITES: [f64; 5] = [139.0, 142.0, 146.0, 153.0, 158.0];

/// Reads of one kind against the number of replicas (figures 10 and 11).
///
/// # Errors
/// When a run comes to a stop.
pub fn reads(consistency: Consistency, costs: Costs) -> Result<Figure, Error> {
    let (name, title, published) = match consistency {
        Consistency::Linearizable => {
            ("reads-linearizable", "Linearizable reads past the leader", LINEARIZABLE)
        }
        Consistency::Sequential => ("reads-sequential", "Sequential reads", SEQUENTIAL),
        Consistency::Eventual => ("reads-eventual", "Eventual reads", EVENTUAL),
    };
    let workload = Workload { consistency, ..writes(2_000) };
    measure(name, title, "replicas", with_replicas(WRITES, published, workload), costs)
}

/// The points of a figure of reads: commands without any, and then more and more.
fn with_replicas(none: [f64; 5], some: Published, workload: Workload) -> Vec<Wanted> {
    let columns = [(0.0, none)].into_iter().chain(some);
    let of_column = |(share, column): (f64, [f64; 5])| {
        let points = (2..).zip(column.into_iter().zip(proxies(share)));
        points.map(move |(replicas, (thousands, proxies))| {
            let grid = share > 0.0 && workload.consistency == Consistency::Linearizable;
            let shape = if grid { Shape::Grid { rows: replicas, columns: 2 } } else { THREE };
            let clients = if share > 0.0 { workload.clients } else { workload.clients / 2 };
            let workload = Workload { reads: share / 100.0, clients, ..workload };
            let series = format!("{share:.0} % reads");
            point(&series, float(replicas), parts(shape, proxies, replicas), workload, thousands)
        })
    };
    columns.flat_map(of_column).collect()
}

/// Clients that ask for 50 keys at a time: what the paper calls batched reads. What counts is keys.
///
/// # Errors
/// When a run comes to a stop.
pub fn reads_of_many_keys(costs: Costs) -> Result<Figure, Error> {
    /// "1.9 to 2.0, flat".
    const NONE: [f64; 5] = [1_950.0; 5];
    const SOME: Published = [
        (60.0, [2_700.0, 3_200.0, 3_600.0, 3_800.0, 4_000.0]),
        (90.0, [3_400.0, 4_700.0, 5_700.0, 6_700.0, 7_500.0]),
        (100.0, [6_700.0, 9_500.0, 12_500.0, 15_300.0, 18_100.0]),
    ];
    let workload = Workload { many_keys: true, ..writes(2_000) };
    let (name, title) = ("reads-of-50-keys", "Linearizable reads, 50 keys in a request; keys are counted");
    measure(name, title, "replicas", with_replicas(NONE, SOME, workload), costs)
}

/// A hot key, 95 % reads: leaderless reads against a chain of six (figure 12).
///
/// # Errors
/// When a run comes to a stop.
pub fn skew(costs: Costs) -> Result<Figure, Error> {
    const CHAIN: [f64; 9] = [287.0, 269.0, 238.0, 195.0, 173.0, 145.0, 128.0, 111.0, 100.0];
    /// The data say 434 to 457, flat.
    const PARTS: f64 = 445.0;
    let mut wanted = Vec::new();
    for (eighths, thousands) in (0_u8..).zip(CHAIN) {
        let skew = f64::from(eighths) / 8.0;
        let workload = Workload { reads: 0.95, skew, ..writes(2_000) };
        let grid = parts(Shape::Grid { rows: 6, columns: 2 }, 3, 6);
        wanted.push(point("compartmentalized", skew, grid, workload, PARTS));
        let fewer = Workload { clients: 500, ..workload };
        wanted.push(Wanted {
            doubt: Some("every read of the original scans all pending writes"),
            ..point("craq", skew, System::Chain { nodes: 6 }, fewer, thousands)
        });
    }
    measure("skew", "A hot key", "share of commands on one key", wanted, costs)
}

/// Throughput as clients are added, writes only (figure 7).
///
/// # Errors
/// When a run comes to a stop.
pub fn latency(costs: Costs) -> Result<Figure, Error> {
    let grid = parts(Shape::Grid { rows: 2, columns: 2 }, 10, 4);
    let mut wanted = Vec::new();
    for clients in [1, 10, 50, 100, 200, 300, 500, 1_000] {
        let x = float(clients);
        // Of the server alone with one client the data say 21,900 and 0.09 ms, which cannot both be.
        let (of_coupled, of_parts, of_alone) = match clients {
            1 => (0.0, 3.07, 1.0 / 0.09),
            300 => (0.0, 150.0, 0.0),
            1_000 => (24.8, 150.0, 250.0),
            _ => (0.0, 0.0, 0.0),
        };
        let coupled = point("multipaxos", x, COUPLED, writes(clients), of_coupled);
        wanted.push(Wanted { doubt: coupled.published.map(|_| COUPLED_DOUBT), ..coupled });
        wanted.push(point("compartmentalized", x, grid.clone(), writes(clients), of_parts));
        let alone = point("unreplicated", x, System::Unreplicated(Batching::NONE), writes(clients), of_alone);
        let doubt = (clients == 1).then_some("what 0.09 ms a command come to; 21,900, say the same data");
        wanted.push(Wanted { doubt, ..alone });
    }
    measure("latency", "Throughput as clients are added", "clients", wanted, costs)
}
