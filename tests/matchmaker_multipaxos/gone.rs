//! Reconfigurations without end, under load: machines join with empty disks and go for good with theirs, and meanwhile
//! servers, acceptors and matchmakers are killed at any moment and come back.
//!
//! It takes half a minute, or as many seconds as `PARTHOOD_FAULT_SECONDS` says, and ends with a thousand reconfigurations.

use super::PROTOCOL;
use crate::harness::{Server, fault_time, free_ports};
use crate::scenario::with_last_reads;
use parthood::bench::{self, History, HistoryVerdict, Load};
use parthood::deploy::{self, Cluster};
use parthood::protocols::operator::{Progress, Refusal, Wanted};
use parthood::runtime::wire::Key;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SERVERS: usize = 3;
/// Machines of a role, those that are to come included: a cluster has at most 128 nodes in its life.
const MACHINES: usize = 62;
/// Machines of a role at a time, three of which are in use.
const AT_A_TIME: usize = 5;
const RECONFIGURATIONS_MAX: usize = 1_000;
const ROLES: [&str; 3] = ["server", "acceptor", "matchmaker"];

/// Numbers as if by chance; the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// So many of these, ascending.
    fn some(&mut self, count: usize, of: &[usize]) -> Vec<usize> {
        let mut pool = of.to_vec();
        let mut some: Vec<usize> = (0..count).map(|_| pool.swap_remove(self.below(pool.len()))).collect();
        some.sort_unstable();
        some
    }
}

fn name(role: &str, number: usize) -> String {
    format!("{role}-{number}")
}

/// A cluster file with a machine for each node.
fn file(folder: &Path) -> Cluster {
    let counts = [SERVERS, MACHINES, MACHINES];
    let nodes = ROLES.into_iter().zip(counts).flat_map(|(role, count)| (0..count).map(move |at| (role, at)));
    let mut text = format!("protocol = \"{PROTOCOL}\"\nkey_file = \"cluster.key\"\ndata = \"elsewhere\"\n");
    for ((role, number), port) in nodes.zip(free_ports(counts.iter().sum())) {
        let name = name(role, number);
        text +=
            &format!("\n[[node]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n");
    }
    std::fs::write(folder.join("cluster.toml"), text).unwrap();
    Key::generate().unwrap().save(&folder.join("cluster.key")).unwrap();
    Cluster::load(&folder.join("cluster.toml")).unwrap()
}

/// The machines, each with a disk of its own.
struct Machines<'a> {
    folder: &'a Path,
    running: BTreeMap<String, Server>,
    /// By role, what was killed and is to come back: one at most.
    down: BTreeMap<&'static str, String>,
    kills: BTreeMap<&'static str, usize>,
    gone: usize,
}

impl<'a> Machines<'a> {
    fn new(folder: &'a Path) -> Self {
        let (running, down, kills) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { folder, running, down, kills, gone: 0 }
    }

    fn disk(name: &str) -> String {
        format!("disk of {name}")
    }

    fn start(&mut self, name: &str) {
        let disk = Self::disk(name);
        let run = ["run", "--config", "cluster.toml", "--node", name, "--data", &disk];
        self.running.insert(name.to_owned(), Server::start(self.folder, &run));
    }

    fn kill_one(&mut self, role: &'static str, chance: &mut Chance) {
        let of_role = self.running.keys().filter(|name| name.starts_with(role));
        let names: Vec<String> = of_role.cloned().collect();
        let victim = names[chance.below(names.len())].clone();
        self.running.remove(&victim).unwrap().kill();
        self.down.insert(role, victim);
        *self.kills.entry(role).or_default() += 1;
    }

    fn bring_back(&mut self, role: &str) {
        if let Some(name) = self.down.remove(role) {
            self.start(&name);
        }
    }

    /// The machine is shut down for good, and its disk is destroyed.
    fn destroy(&mut self, role: &'static str, number: usize) {
        let name = name(role, number);
        match self.running.remove(&name) {
            Some(server) => server.kill(),
            None => drop(self.down.remove(role).filter(|down| *down == name).expect("it is somewhere")),
        }
        std::fs::remove_dir_all(self.folder.join(Self::disk(&name))).unwrap();
        self.gone += 1;
    }
}

/// Has those who kill end, also if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills a machine of a role every so often, and starts it again from its disk after a while.
fn hurt(role: &'static str, machines: &Mutex<Machines<'_>>, is_over: &AtomicBool) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + role.len() as u64);
    let mut pause = |most: usize| crate::harness::pause(chance.below(most) as u64);
    let mut victims = Chance(0x2545_f491_4f6c_dd1d + role.len() as u64);
    while !is_over.load(Ordering::Relaxed) {
        pause(1_200);
        machines.lock().unwrap().kill_one(role, &mut victims);
        pause(1_500);
        machines.lock().unwrap().bring_back(role);
    }
}

/// The machines of a role that are there, and the number of the next one.
struct Pool {
    role: &'static str,
    present: Vec<usize>,
    next: usize,
}

/// What was measured: from the request.
#[derive(Default)]
struct Times {
    active: Vec<Duration>,
    retired: Vec<Duration>,
}

/// Has some machines of the pool used, without the oldest if that is to go; asks for others if one of them does not answer.
fn exchange(cluster: &Cluster, pool: &Pool, oldest_goes: bool, chance: &mut Chance, times: &mut Times) {
    let pick_from = &pool.present[usize::from(oldest_goes)..];
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}s are never exchanged", pool.role);
        // Two acceptors, both of which must write, or three.
        let count = if pool.role == "acceptor" { 2 + chance.below(2) } else { SERVERS };
        let some = chance.some(count, pick_from);
        let names: Vec<String> = some.iter().map(|number| name(pool.role, *number)).collect();
        let wanted: Wanted = match pool.role {
            "acceptor" => deploy::acceptors(cluster, &names, count == 2).unwrap(),
            _ => deploy::matchmakers(cluster, &names).unwrap(),
        };
        let (asked, mut active) = (Instant::now(), None);
        let told = |progress: &Progress| {
            if matches!(progress, Progress::Active(_)) {
                active = Some(asked.elapsed());
            }
        };
        match deploy::reconfigure(cluster, &wanted, Duration::from_secs(60), told).unwrap() {
            Some(Progress::Retired(_)) => {
                times.active.extend(active);
                times.retired.push(asked.elapsed());
                return;
            }
            // Whoever was killed does not answer, and who leads next may have ended what was begun.
            Some(
                Progress::Refused(Refusal::Silent(_) | Refusal::SilentAcceptor(_)) | Progress::Superseded(_),
            ) => {}
            other => panic!("{names:?}: {other:?}"),
        }
    }
}

/// The median, the 95th percentile and the largest.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let at = |percent: usize| times.get((times.len() * percent / 100).min(last)).copied().unwrap_or_default();
    format!("{:.1?} {:.1?} {:.1?}", at(50), at(95), at(100))
}

/// The longest time in which no command was answered.
fn longest_gap(history: &History) -> Duration {
    let returned = history.iter().filter_map(|operation| Some(operation.returned.as_ref()?.at));
    let mut returned: Vec<u64> = returned.collect();
    returned.sort_unstable();
    let gaps = returned.windows(2).map(|pair| pair[1] - pair[0]);
    Duration::from_nanos(gaps.max().unwrap_or_default())
}

#[test]
fn machines_that_are_retired_are_gone_for_good_and_nothing_is_lost_whoever_else_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = file(folder.path());
    let machines = Mutex::new(Machines::new(folder.path()));
    let counts = [SERVERS, AT_A_TIME, AT_A_TIME];
    for (role, count) in ROLES.into_iter().zip(counts) {
        (0..count).for_each(|number| machines.lock().unwrap().start(&name(role, number)));
    }
    let mut pools = ["acceptor", "matchmaker"].map(|role| Pool {
        role,
        present: (0..AT_A_TIME).collect(),
        next: AT_A_TIME,
    });
    let time = fault_time(30);
    let load = Load {
        outstanding: 4,
        duration: time,
        patience: Duration::from_secs(60),
        keys: 50,
        check: true,
        seed: 5,
        ..Load::default()
    };
    let (started, is_over) = (Instant::now(), AtomicBool::new(false));
    let (all, ends) = (&machines, &is_over);
    let (mut chance, mut times) = (Chance(7), Times::default());
    let measured = std::thread::scope(|scope| {
        let over = Over(&is_over);
        let loading = scope.spawn(|| bench::run(&cluster, &load));
        for role in ROLES {
            scope.spawn(move || hurt(role, all, ends));
        }
        while !loading.is_finished() && times.retired.len() < RECONFIGURATIONS_MAX {
            // Every fourth time the matchmakers. New machines come as long as there are names, and the oldest then go.
            let pool = &mut pools[usize::from(times.retired.len() % 4 == 3)];
            let share = started.elapsed().as_secs_f64() / time.as_secs_f64();
            #[allow(clippy::cast_precision_loss, reason = "a few machines")]
            let is_due = pool.next < MACHINES && ((pool.next - AT_A_TIME) as f64) < share * MACHINES as f64;
            if is_due {
                machines.lock().unwrap().start(&name(pool.role, pool.next));
                pool.present.push(pool.next);
                pool.next += 1;
            }
            exchange(&cluster, pool, is_due, &mut chance, &mut times);
            if is_due {
                machines.lock().unwrap().destroy(pool.role, pool.present.remove(0));
            }
        }
        drop(over);
        loading.join().unwrap().unwrap()
    });
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    let (answered, gap) = (measured.answered, longest_gap(&measured.history));
    let history = with_last_reads(&cluster, measured);
    assert_eq!(bench::judge(&history), HistoryVerdict::Right);
    let machines = machines.into_inner().unwrap();
    assert!(machines.gone > 3, "{} machines are gone", machines.gone);
    assert!(ROLES.iter().all(|role| machines.kills.contains_key(role)), "{:?}", machines.kills);
    let Times { active, retired } = &mut times;
    eprintln!(
        "{} reconfigurations, {} machines gone for good, kills {:?}, {answered} commands, none answered for {gap:.1?} at most; \
         median, 95th percentile and most from request to active {} and to retired {}",
        retired.len(),
        machines.gone,
        machines.kills,
        quantiles(active),
        quantiles(retired),
    );
}
