//! The message law of `compartmentalized`: how many messages a node of each role sends and receives per command, exactly, in
//! runs without loss that contact one quorum at a time. (Section 4 of the paper.)

use itertools::Itertools as _;
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::{
    Ask, Bounds, Config, Consistency, Group, Layout, Limits, Node, Part, ReadScheme, Reader, Role, Timing,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use proptest::prelude::*;
use stateright::actor::{self, Command, Id, Out};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

type Actor = Node<KeyValue>;

/// A deployment, and how often each of its clients asks.
#[derive(Clone, Copy, Debug)]
struct Deployed {
    groups: usize,
    rows: usize,
    columns: usize,
    proxies: usize,
    replicas: usize,
    batchers: usize,
    unbatchers: usize,
    read_batchers: usize,
    /// Commands or reads in a batch.
    batch: usize,
}

/// What each client asks, every time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    Write,
    Read(Consistency),
}

impl Deployed {
    fn layout(self) -> Layout {
        let Self { groups, rows, columns, proxies, replicas, batchers, unbatchers, read_batchers, .. } = self;
        let acceptors = groups * rows * columns;
        Layout { leaders: 2, proxies, acceptors, replicas, batchers, unbatchers, read_batchers }
    }

    /// So often that everything that takes turns comes round to where it began.
    fn each(self) -> usize {
        let turns = [self.groups * self.columns, self.groups * self.rows, self.proxies, self.replicas];
        turns.into_iter().chain([self.replicas * self.unbatchers.max(1)]).fold(1, lcm)
    }

    /// What the nodes of a role handled, if it is the same for all.
    fn of_role(self, role: Role, handled: &[usize]) -> Option<usize> {
        self.layout().ids(role).map(|id| handled[usize::from(id)]).all_equal_value().ok()
    }

    /// Runs all messages to their end in the order of sending, without timers. Returns the number of questions, and what each
    /// node handled.
    fn run(self, question: Question) -> (usize, Vec<usize>) {
        let layout = self.layout();
        let collectors = if question == Question::Write { self.batchers } else { self.read_batchers };
        // As many clients to a collector as fill a batch; the others are alone.
        let clients = collectors.max(1) * self.batch;
        let each = self.each();
        let grid = self.rows * self.columns;
        let config = Arc::new(Config {
            layout,
            leader_groups: 1,
            groups: (0..self.groups).map(|at| Group::grid(at * grid, self.rows, self.columns)).collect(),
            saves_needed: 2,
            known_clients: (layout.nodes()..layout.nodes() + clients).map(|id| id as u64).collect(),
            read_scheme: ReadScheme::Timed,
            limits: Limits {
                watermark_slots: u64::MAX,
                batch_commands: self.batch,
                read_batch: self.batch,
                ..Limits::default()
            },
            timing: Timing { gather: None, ..Timing::default() },
            bounds: Bounds { ping: false, ..Bounds::default() },
            faults: Correct,
        });
        let nodes = (0..layout.nodes()).filter_map(|id| {
            let (role, index) = layout.role(Id::from(id));
            Node::of(role, Part { index, lost_storage: false, config: config.clone() })
        });
        let clients_of = (0..clients).map(|number| client(&config, number, each, question));
        let handled = tally(&nodes.chain(clients_of).collect::<Vec<_>>());
        (clients * each, handled)
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    a / gcd(a, b) * b
}

fn client(config: &Arc<Config<Correct>>, number: usize, each: usize, question: Question) -> Actor {
    let key = Bytes::from(&format!("{number}"));
    let ask = match question {
        Question::Write => Ask { command: KeyValueCommand::Put(key.clone(), key), read: None },
        Question::Read(consistency) => Ask { command: KeyValueCommand::Get(key), read: Some(consistency) },
    };
    let contacts = if config.layout.batchers > 0 { Role::Batcher } else { Role::Leader };
    let contacts: Vec<Id> = config.layout.ids(contacts).collect();
    // All turn to the first leader: the law is about commands that reach the active one.
    let first_contact = if config.layout.batchers > 0 { number % contacts.len() } else { 0 };
    let never = Duration::from_secs(3_600);
    Node::Client(Reader {
        writer: Client {
            first_contact,
            contacts,
            script: vec![],
            lanes: 1,
            known: true,
            application: None,
            retries_max: u32::MAX,
            retry_after: never..2 * never,
        },
        script: vec![ask; each],
        read: None,
        turn: number as u64,
        config: config.clone(),
    })
}

/// Runs all messages to their end in the order of sending, without timers, and counts what each node handles.
pub(crate) fn tally<A: actor::Actor>(actors: &[A]) -> Vec<usize> {
    let mut handled = vec![0; actors.len()];
    let mut queue = VecDeque::new();
    let mut states = vec![];
    for (id, actor) in actors.iter().enumerate() {
        let mut out = Out::new();
        states.push(actor.on_start(Id::from(id), &None, &mut out));
        post(id, out, &mut queue, &mut handled);
    }
    while let Some((src, dst, msg)) = queue.pop_front() {
        let at = usize::from(dst);
        handled[at] += 1;
        let mut out = Out::new();
        let mut state = Cow::Borrowed(&states[at]);
        actors[at].on_msg(dst, &mut state, src, msg, &mut out);
        if let Cow::Owned(state) = state {
            states[at] = state;
        }
        post(at, out, &mut queue, &mut handled);
    }
    handled
}

fn post<A: actor::Actor>(
    src: usize,
    out: Out<A>,
    queue: &mut VecDeque<(Id, Id, A::Msg)>,
    handled: &mut [usize],
) {
    for command in out {
        if let Command::Send(dst, msg) = command {
            handled[src] += 1;
            queue.push_back((Id::from(src), dst, msg));
        }
    }
}

fn deployments() -> impl Strategy<Value = Deployed> {
    let acceptors = (1..3_usize, 1..4_usize, 1..4_usize);
    let others = (1..6_usize, 1..5_usize, 0..4_usize, 0..3_usize, 0..4_usize, 1..5_usize);
    (acceptors, others).prop_map(|((groups, rows, columns), others)| {
        let (proxies, replicas, batchers, unbatchers, read_batchers, batch) = others;
        Deployed { groups, rows, columns, proxies, replicas, batchers, unbatchers, read_batchers, batch }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With `B` commands in a slot, a write quorum of `q` and `n` replicas, per slot: a batcher handles `B + 1` messages, the
    /// active leader 2, the proxy leaders together `1 + 2q + n`, the acceptors together `2q`, each replica 1 and one of them the
    /// reply or replies, an unbatcher `B + 1`.
    #[test]
    fn writes_cost_what_the_message_law_says(deployed in deployments()) {
        let batch = if deployed.batchers > 0 { deployed.batch } else { 1 };
        let deployed = Deployed { batch, ..deployed };
        let Deployed { groups, rows, columns, proxies, replicas, batchers, unbatchers, .. } = deployed;
        let (commands, handled) = deployed.run(Question::Write);
        let leaders: Vec<_> = deployed.layout().ids(Role::Leader).map(|id| handled[usize::from(id)]).collect();
        let handled = |role| deployed.of_role(role, &handled);
        let slots = commands / batch;
        let through = unbatchers > 0 && batch > 1;
        let replies = if through { slots } else { commands };
        prop_assert_eq!(leaders, [2 * slots, 0]);
        prop_assert_eq!(handled(Role::ProxyLeader).map(|each| each * proxies), Some(slots * (1 + 2 * rows + replicas)));
        prop_assert_eq!(handled(Role::Acceptor).map(|each| each * groups * columns), Some(2 * slots));
        prop_assert_eq!(handled(Role::Replica).map(|each| each * replicas), Some(slots * replicas + replies));
        if batchers > 0 {
            prop_assert_eq!(handled(Role::Batcher).map(|each| each * batchers), Some(commands + slots));
        }
        if unbatchers > 0 {
            let dealt = if through { slots + commands } else { 0 };
            prop_assert_eq!(handled(Role::Unbatcher).map(|each| each * unbatchers), Some(dealt));
        }
    }

    /// With `R` reads in a batch and `w` acceptors in a row, per batch: a read batcher handles `R + 2w + 1` messages, or
    /// `R + 1` if the reads are weak; the acceptors of a row 2 each, or none; one replica the question and the reply or
    /// replies. Leaders and proxy leaders handle nothing. So rows scale reads, and columns do not.
    #[test]
    fn reads_cost_what_the_message_law_says(
        deployed in deployments(),
        consistency in prop::sample::select(vec![
            Consistency::Linearizable, Consistency::Sequential, Consistency::Eventual,
        ]),
    ) {
        let batch = if deployed.read_batchers > 0 { deployed.batch } else { 1 };
        let asks = consistency == Consistency::Linearizable;
        // With several groups an idle log must be filled before such a read is answered, which has its price.
        let groups = if asks { 1 } else { deployed.groups };
        let deployed = Deployed { groups, batch, ..deployed };
        let Deployed { rows, columns, replicas, unbatchers, read_batchers, .. } = deployed;
        let (reads, handled) = deployed.run(Question::Read(consistency));
        let handled = |role| deployed.of_role(role, &handled);
        let batches = reads / batch;
        let through = unbatchers > 0 && batch > 1;
        let replies = if through { batches } else { reads };
        prop_assert_eq!([Role::Leader, Role::ProxyLeader].map(handled), [Some(0); 2]);
        prop_assert_eq!(
            handled(Role::Acceptor).map(|each| each * groups * rows),
            Some(if asks { 2 * batches } else { 0 })
        );
        prop_assert_eq!(handled(Role::Replica).map(|each| each * replicas), Some(batches + replies));
        if read_batchers > 0 {
            let questions = if asks { 2 * columns * batches } else { 0 };
            prop_assert_eq!(
                handled(Role::ReadBatcher).map(|each| each * read_batchers),
                Some(reads + questions + batches)
            );
        }
        if unbatchers > 0 {
            let dealt = if through { batches + reads } else { 0 };
            prop_assert_eq!(handled(Role::Unbatcher).map(|each| each * unbatchers), Some(dealt));
        }
    }
}
