//! Faults and when they happen: an explicit list, or one drawn from a seed within a budget.
//!
//! A drawn schedule has two phases. Until [`Budget::calm_at`] anything may happen that the budget allows, and only safety
//! can be asked for. From then on nothing does: every node is up, every link works and the network is the calm one, and
//! progress can be asked for too.

use super::network::Network;
use super::rng::{Purpose, Rng, Span, nanos};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a random interval is drawn again before the fault is given up, when it would have too many nodes down.
const DRAWS_MAX: u32 = 16;

/// Something that happens to nodes or links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The node loses its state, its queue, its timers, and its saves that are not durable yet with the sends that wait
    /// for them. Nothing happens to a node that is down.
    Crash(usize),
    /// The node loses what was durable: it gets a new disk. Nothing happens to a node that is up. Few actors may forget;
    /// a drawn schedule has no such fault.
    Wipe(usize),
    /// The node starts from its durable storage. Nothing happens to a node that is up.
    Restart(usize),
    /// The node does nothing until it is resumed; what arrives waits.
    Pause(usize),
    /// The node goes on.
    Resume(usize),
    /// The links, each from the first node to the second, lose everything. Cuts of a link add up.
    Cut(Vec<(usize, usize)>),
    /// One cut of each link is undone.
    Heal(Vec<(usize, usize)>),
    /// Messages sent from now on travel like this.
    Network(Network),
}

/// Faults in the order of their times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    faults: Vec<(Duration, Fault)>,
}

/// What a drawn schedule may contain. Every duration is clipped at `calm_at`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The nodes that may be hurt.
    pub nodes: Vec<usize>,
    /// From then on there are no faults.
    pub calm_at: Duration,
    /// How many crashes, at most.
    pub crashes: u32,
    /// How many nodes are down at once, at most.
    pub down_at_most: usize,
    /// How long a node stays down.
    pub down: Span,
    /// How many pauses.
    pub pauses: u32,
    /// How long a pause lasts.
    pub pause: Span,
    /// How many cuts.
    pub cuts: u32,
    /// How long a cut lasts.
    pub cut: Span,
    /// The network until `calm_at`.
    pub storm: Network,
    /// The network from `calm_at` on.
    pub calm: Network,
}

impl Schedule {
    /// No fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// The faults, in order.
    pub fn faults(&self) -> &[(Duration, Fault)] {
        &self.faults
    }

    /// Adds a fault, after those of the same time.
    #[must_use]
    pub fn with(mut self, at: Duration, fault: Fault) -> Self {
        let place = self.faults.partition_point(|(other, _)| *other <= at);
        self.faults.insert(place, (at, fault));
        self
    }

    /// Has `node` down from `from` until `to`.
    #[must_use]
    pub fn down(self, node: usize, from: Duration, to: Duration) -> Self {
        self.with(from, Fault::Crash(node)).with(to, Fault::Restart(node))
    }

    /// Has `node` paused from `from` until `to`.
    #[must_use]
    pub fn paused(self, node: usize, from: Duration, to: Duration) -> Self {
        self.with(from, Fault::Pause(node)).with(to, Fault::Resume(node))
    }

    /// Has `links` cut from `from` until `to`.
    #[must_use]
    pub fn cut(self, links: Vec<(usize, usize)>, from: Duration, to: Duration) -> Self {
        self.with(from, Fault::Cut(links.clone())).with(to, Fault::Heal(links))
    }

    /// Draws a schedule from a seed. Nodes outside `budget.nodes` are cut from others, but never crash or pause.
    pub fn random(seed: u64, node_count: usize, budget: &Budget) -> Self {
        let mut rng = Rng::new(seed, Purpose::Faults);
        let mut schedule = Self::new().with(Duration::ZERO, Fault::Network(budget.storm));
        if !budget.nodes.is_empty() {
            for (node, from, to) in draw_downs(&mut rng, budget) {
                schedule = schedule.down(node, from, to);
            }
            for _ in 0..budget.pauses {
                let node = budget.nodes[rng.index(budget.nodes.len())];
                let (from, to) = interval(&mut rng, budget.calm_at, budget.pause);
                schedule = schedule.paused(node, from, to);
            }
            for _ in 0..budget.cuts {
                let links = draw_links(&mut rng, node_count, &budget.nodes);
                let (from, to) = interval(&mut rng, budget.calm_at, budget.cut);
                schedule = schedule.cut(links, from, to);
            }
        }
        schedule.with(budget.calm_at, Fault::Network(budget.calm))
    }
}

/// The links between `side` and all other nodes, both ways: a partition in two.
pub fn partition(node_count: usize, side: &[usize]) -> Vec<(usize, usize)> {
    let mut links = into(node_count, side);
    links.extend(out_of(node_count, side));
    links
}

/// The links by which other nodes reach `side`.
pub fn into(node_count: usize, side: &[usize]) -> Vec<(usize, usize)> {
    out_of(node_count, side).into_iter().map(|(from, to)| (to, from)).collect()
}

/// The links by which `side` reaches other nodes.
pub fn out_of(node_count: usize, side: &[usize]) -> Vec<(usize, usize)> {
    let others = (0..node_count).filter(|node| !side.contains(node));
    others.flat_map(|other| side.iter().map(move |node| (*node, other))).collect()
}

/// Crashes and restarts such that no node is down twice and never more than allowed are down at once.
fn draw_downs(rng: &mut Rng, budget: &Budget) -> Vec<(usize, Duration, Duration)> {
    let mut downs: Vec<(usize, Duration, Duration)> = Vec::new();
    for _ in 0..budget.crashes {
        for _ in 0..DRAWS_MAX {
            let node = budget.nodes[rng.index(budget.nodes.len())];
            let (from, to) = interval(rng, budget.calm_at, budget.down);
            // Intervals that touch count as overlapping: the restart might come after the crash.
            let overlapping = || downs.iter().filter(|(_, start, end)| *start <= to && from <= *end);
            if overlapping().count() < budget.down_at_most && overlapping().all(|(other, ..)| *other != node)
            {
                downs.push((node, from, to));
                break;
            }
        }
    }
    downs
}

/// Links that a single broken cable, switch or route would cut.
fn draw_links(rng: &mut Rng, node_count: usize, nodes: &[usize]) -> Vec<(usize, usize)> {
    let node = nodes[rng.index(nodes.len())];
    match rng.below(5) {
        0 => into(node_count, &[node]),
        1 => out_of(node_count, &[node]),
        2 => vec![(node, rng.index(node_count))],
        3 => {
            let side: Vec<usize> = nodes.iter().copied().filter(|_| rng.chance(0.5)).collect();
            partition(node_count, &side)
        }
        _ => partition(node_count, &[node]),
    }
}

/// An interval of a length in `span`, clipped at `calm_at`.
fn interval(rng: &mut Rng, calm_at: Duration, span: Span) -> (Duration, Duration) {
    let from = Duration::from_nanos(rng.below(nanos(calm_at)));
    let to = from.saturating_add(Duration::from_nanos(rng.within(span))).min(calm_at);
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::ms;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn budget(crashes: u32, down_at_most: usize) -> Budget {
        Budget {
            nodes: vec![0, 1, 2],
            calm_at: ms(1000),
            crashes,
            down_at_most,
            down: Span::new(ms(10), ms(300)),
            pauses: 5,
            pause: Span::new(ms(1), ms(900)),
            cuts: 6,
            cut: Span::new(ms(1), ms(900)),
            storm: Network { loss: 0.3, ..Network::default() },
            calm: Network::default(),
        }
    }

    proptest! {
        #[test]
        fn a_drawn_schedule_keeps_its_budget_and_heals_everything(
            seed in any::<u64>(),
            crashes in 0_u32..20,
            down_at_most in 0_usize..3,
        ) {
            let budget = budget(crashes, down_at_most);
            let schedule = Schedule::random(seed, 5, &budget);
            let (mut down, mut cuts, mut crashed) = (Vec::new(), HashMap::new(), 0);
            let mut last = Duration::ZERO;
            for (at, fault) in schedule.faults() {
                prop_assert!(last <= *at && *at <= budget.calm_at);
                last = *at;
                match fault {
                    Fault::Crash(node) => {
                        prop_assert!(!down.contains(node) && budget.nodes.contains(node));
                        down.push(*node);
                        crashed += 1;
                    }
                    Fault::Restart(node) => down.retain(|other| other != node),
                    Fault::Cut(links) => links.iter().for_each(|link| *cuts.entry(*link).or_insert(0) += 1),
                    Fault::Heal(links) => links.iter().for_each(|link| *cuts.entry(*link).or_insert(0) -= 1),
                    Fault::Wipe(_) => prop_assert!(false),
                    Fault::Pause(_) | Fault::Resume(_) | Fault::Network(_) => {}
                }
                prop_assert!(down.len() <= down_at_most);
            }
            prop_assert!(crashed <= crashes && down.is_empty() && cuts.values().all(|count| *count == 0));
            prop_assert_eq!(&schedule.faults().last().unwrap().1, &Fault::Network(budget.calm));
            let count = |wanted: fn(&Fault) -> bool| schedule.faults().iter().filter(|(_, f)| wanted(f)).count();
            prop_assert_eq!(count(|fault| matches!(fault, Fault::Cut(_))), 6);
            prop_assert_eq!(count(|fault| matches!(fault, Fault::Resume(_))), 5);
            prop_assert!(down_at_most == 0 || crashes == 0 || crashed > 0);
        }
    }

    #[test]
    fn a_partition_cuts_exactly_the_links_between_its_sides() {
        let mut links = partition(4, &[1, 3]);
        links.sort_unstable();
        assert_eq!(links, [(0, 1), (0, 3), (1, 0), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2)]);
        assert_eq!(into(3, &[0]), [(1, 0), (2, 0)]);
        assert_eq!(out_of(3, &[0]), [(0, 1), (0, 2)]);
    }

    #[test]
    fn faults_stand_in_the_order_of_their_times() {
        let schedule = Schedule::new().down(0, ms(5), ms(9)).paused(1, ms(1), ms(7));
        let times: Vec<_> = schedule.faults().iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [1, 5, 7, 9]);
    }
}
