//! The papers' figures from simulated runs: every published number, and the shapes.

use parthood::figures::{self, Costs, Figure, Point};
use parthood_protocols::compartmentalized::Consistency;

/// The points of a series in order.
fn series<'a>(figure: &'a Figure, name: &str) -> Vec<&'a Point> {
    figure.points.iter().filter(|point| point.series == name).collect()
}

/// Whether every published number is within 20 percent; if not, where.
fn off(figure: &Figure) -> Option<String> {
    let off = figure.points.iter().find(|point| point.error().is_some_and(|error| error.abs() > 0.2))?;
    Some(format!("{} {} at {}: {:?}", figure.name, off.series, off.x, off.error()))
}

#[test]
fn one_part_after_the_other_is_the_bottleneck() {
    let figure = figures::ablation(Costs::default()).unwrap();
    assert_eq!(off(&figure), None);
    let steps: Vec<_> =
        figure.points.iter().map(|point| (point.measured.binding, point.measured.per_second)).collect();
    assert_eq!((steps[0].0, steps[1].0, steps[2].0), ("server", "proxy leader", "proxy leader"));
    assert!(steps[6..].iter().all(|(binding, _)| *binding == "replica"), "{steps:?}");
    // Six times, says the paper.
    let gain = steps.iter().map(|(_, per_second)| per_second).fold(0.0, |a: f64, b| a.max(*b)) / steps[0].1;
    assert!((gain / 6.0 - 1.0).abs() < 0.1, "{gain}");

    let slow = Costs { proxy_chosen: 17.0, ..Costs::default() };
    assert!(
        off(&figures::ablation(slow).unwrap()).is_some(),
        "proxy leaders at half their speed go unnoticed"
    );
}

#[test]
fn reads_scale_with_replicas_and_weaker_ones_more() {
    let coupled = figures::ablation(Costs::default()).unwrap().points[0].measured.per_second;
    let [linearizable, sequential, eventual] =
        [Consistency::Linearizable, Consistency::Sequential, Consistency::Eventual]
            .map(|consistency| figures::reads(consistency, Costs::default()).unwrap());
    for figure in [&linearizable, &sequential, &eventual] {
        assert_eq!(off(figure), None);
    }
    let ninety = series(&linearizable, "90 % reads");
    // Sixteen times, says the paper.
    let gain = ninety[4].measured.per_second / coupled;
    assert!((gain / 16.0 - 1.0).abs() < 0.1, "{gain}");
    for (weak, strong) in series(&eventual, "90 % reads").iter().zip(ninety) {
        assert!(weak.measured.per_second > strong.measured.per_second);
    }
    let all = series(&linearizable, "100 % reads");
    let linear = all[4].measured.per_second / all[0].measured.per_second;
    assert!((linear - 3.0).abs() < 0.1, "three times the replicas, {linear} times the reads");
}

#[test]
fn a_hot_key_slows_a_chain_and_not_leaderless_reads() {
    let figure = figures::skew(Costs::default()).unwrap();
    assert_eq!(off(&figure), None);
    let chain = series(&figure, "craq");
    assert!(chain.windows(2).all(|pair| pair[0].measured.per_second > pair[1].measured.per_second));
    let parts = series(&figure, "compartmentalized");
    let (first, last) = (parts[0].measured.per_second, parts[8].measured.per_second);
    assert!((first / last - 1.0).abs() < 0.03, "{first} and {last}");
}
