//! The replica: executes the log, replies where that is its duty, answers reads, and gets what it lacks.

use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::storage::Storage;
use super::{Msg, Read, Reply, Timer};
use crate::command::{CommandId, CommandOf, Operation, Value, ValueOf, parts};
use crate::ids::{Slot, remainder};
use crate::log::{Missing, ReplicaState, SnapshotCursor, SnapshotPart};
use crate::sessions::{Answer, Sessions};
use crate::state_machine::StateMachine;
use im::OrdMap;
use stateright::actor::Id;

/// A replica's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaNode<M: StateMachine> {
    /// The log and what it amounts to.
    pub replica: ReplicaState<M>,
    /// Reads that wait, by the first slot that they need not show. A copy of one that waits already adds nothing.
    pub deferred: OrdMap<(Slot, CommandId), M::Command>,
    /// Whether the clock runs after which it asks for what it lacks. What it gets puts the clock back, and nothing else.
    pub asks: bool,
    /// How often it has asked for what it lacks since it got something.
    pub tries: u64,
}

impl<M: StateMachine> ReplicaNode<M> {
    /// Does it know a slot to be chosen that comes after one that it lacks?
    fn has_hole(&self) -> bool {
        let replica = &self.replica;
        replica.chosen_below > replica.executed
            || replica.log.get_max().is_some_and(|(last, _)| *last >= replica.executed)
    }

    /// Does it need a slot that it lacks?
    fn lacks(&self) -> bool {
        self.has_hole() || !self.deferred.is_empty()
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn start_replica<M: StateMachine>(&self, storage: Option<&Storage<M>>) -> ReplicaNode<M> {
        let replica = match storage {
            Some(Storage::Replica(snapshot)) => ReplicaState::at(snapshot.clone()),
            _ => ReplicaState::new(Sessions::with_clients(self.config.known_clients.iter().copied())),
        };
        ReplicaNode { replica, deferred: OrdMap::new(), asks: false, tries: 0 }
    }

    pub(super) fn replica_ignores<M: StateMachine>(
        &self,
        state: &ReplicaNode<M>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, index) = self.config.layout.role(src);
        let from_replica = role == Role::Replica && index != self.index;
        let replica = &state.replica;
        match msg {
            Msg::Chosen { from, values } => {
                let mut slots = (from.0..).map(Slot).take(values.len());
                let known = |slot: Slot| slot < replica.executed || replica.log.contains_key(&slot);
                !(from_replica || role == Role::ProxyLeader) || slots.all(known)
            }
            Msg::ChosenNoops(range) => {
                let known = |slot: Slot| slot < replica.executed || replica.log.contains_key(&slot);
                role != Role::ProxyLeader
                    || !self.config.is_noop_range(*range)
                    || self.config.slots_in(*range).all(known)
            }
            Msg::CatchUp { from } => !from_replica || *from >= replica.executed,
            Msg::FetchSnapshot { .. } => !from_replica || replica.snapshot.slot == Slot::ZERO,
            Msg::SnapshotPart(part) => !from_replica || !replica.awaits_part(part, state.lacks()),
            Msg::AskChosen { below } => {
                let nothing_new = *below <= replica.chosen_below && replica.executed <= *below;
                role != Role::Leader || nothing_new
            }
            Msg::Read { reads, .. } => {
                let from_reader = matches!(role, Role::Client | Role::ReadBatcher);
                !from_reader || !reads.iter().all(Read::is_sound::<M>)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ReplicaNode<M>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Chosen { from, values } => self.on_chosen(src, from, values),
            Msg::ChosenNoops(range) => self.on_chosen_noops(range),
            Msg::CatchUp { from } => self.on_catch_up(src, from),
            Msg::FetchSnapshot { slot, cursor } => self.on_fetch_snapshot(src, slot, &cursor),
            Msg::SnapshotPart(part) => self.on_snapshot_part(src, part),
            Msg::AskChosen { below } => self.on_ask_chosen(src, below),
            Msg::Read { reads, below } => self.on_read(reads, below),
            _ => {}
        }
    }

    /// Notes that slots below are chosen, or says that more are.
    fn on_ask_chosen(&mut self, leader: Id, below: Slot) {
        let replica = &mut self.state.replica;
        replica.chosen_below = replica.chosen_below.max(below);
        let executed = replica.executed;
        if executed > below {
            self.send(leader, Msg::ChosenBelow(executed));
        }
        self.ask_later();
    }

    /// Learns what is chosen. A page from another replica is followed by the next.
    fn on_chosen(&mut self, src: Id, from: Slot, values: Vec<ValueOf<M>>) {
        let before = self.state.replica.executed;
        let mut replies = vec![];
        if self.breaks(Mutant::ReplyOnChosen) && from > before {
            self.reply_out_of_turn(from, &values, &mut replies);
        }
        self.state.replica.insert(from, values);
        self.execute(&mut replies);
        self.reply(replies);
        if self.state.replica.executed > before
            && self.state.lacks()
            && self.layout().role(src).0 == Role::Replica
        {
            self.ask_for_missing(src);
        }
    }

    /// Executes the log as far as it has no hole.
    pub(crate) fn execute(&mut self, replies: &mut Vec<Reply<M::Output>>) {
        let past_holes = self.breaks(Mutant::ExecutePastHole);
        let before = self.state.replica.executed;
        loop {
            let slot = self.state.replica.executed;
            match self.state.replica.log.get(&slot).cloned() {
                Some(value) => {
                    for command in value.commands() {
                        self.execute_command(slot, command, replies);
                    }
                    self.state.replica.advance(&value);
                }
                None if past_holes && self.state.has_hole() => self.state.replica.executed = slot.next(),
                None => break,
            }
            self.answer_deferred(replies);
            self.take_snapshot_if_due();
        }
        self.settle(before);
    }

    /// What follows from having executed further.
    fn settle(&mut self, before: Slot) {
        self.state.replica.settle();
        let executed = self.state.replica.executed;
        if executed > before {
            self.state.tries = 0;
            self.report(before, executed);
        }
        if executed > before && self.state.asks {
            self.state.asks = false;
            self.cancel_timer(Timer::CatchUp);
        }
        self.ask_later();
    }

    /// Starts the clock if something is lacking and it does not run.
    fn ask_later(&mut self) {
        if self.state.lacks() && !self.state.asks {
            self.state.asks = true;
            self.set_timer(Timer::CatchUp);
        }
    }

    /// Every so many slots, one replica in turn tells the leaders how far everything is chosen.
    fn report(&mut self, before: Slot, executed: Slot) {
        let period = self.config.limits.watermark_slots;
        let (last, now) = (before.0 / period, executed.0 / period);
        let mine = |turn| remainder(turn, self.layout().replicas) == self.index;
        if (last + 1..=now).any(mine) {
            let ahead = u64::from(self.breaks(Mutant::WatermarkAhead));
            self.send_to_all(Role::Leader, None, &Msg::ChosenBelow(executed.plus(ahead)));
        }
    }

    /// Executes a command unless it was executed before. The replica whose turn the slot is replies; to what was executed
    /// before everybody replies, since whoever should have the first time may be gone.
    fn execute_command(&mut self, slot: Slot, command: &CommandOf<M>, replies: &mut Vec<Reply<M::Output>>) {
        let known = self.state.replica.sessions.known_answer(&command.id).is_some();
        let anew = self.breaks(Mutant::NoClientTable) || self.breaks(Mutant::TableComparesUnequal) && !known;
        let lanes = self.config.limits.lanes;
        let answer = self.state.replica.execute_command(slot, command, lanes, anew);
        let duty = remainder(slot.0, self.layout().replicas) == self.index;
        if let Some(answer) = answer
            && (duty || known && !self.breaks(Mutant::NoCachedReplies))
        {
            replies.push(Reply { id: command.id, below: slot.next(), answer });
        }
    }

    /// For a mutant: replies with what the commands would do to the present state, before their turn.
    fn reply_out_of_turn(&mut self, from: Slot, values: &[ValueOf<M>], replies: &mut Vec<Reply<M::Output>>) {
        let replica = &mut self.state.replica;
        let (machine, sessions) = (replica.machine.clone(), replica.sessions.clone());
        for (slot, value) in (from.0..).map(Slot).zip(values) {
            for command in value.commands() {
                self.execute_command(slot, command, replies);
            }
        }
        (self.state.replica.machine, self.state.replica.sessions) = (machine, sessions);
    }

    fn take_snapshot_if_due(&mut self) {
        let forget_clients = self.breaks(Mutant::SnapshotWithoutSessions);
        let limits = self.config.limits.replica();
        if self.state.replica.take_snapshot_if_due(limits, forget_clients) {
            self.save();
        }
    }

    /// Saves the snapshot, and tells the acceptors, which hear of it only once that is done.
    fn save(&mut self) {
        let snapshot = self.state.replica.snapshot.clone();
        let slot = snapshot.slot;
        self.out.save(Storage::Replica(snapshot));
        self.send_to_all(Role::Acceptor, None, &Msg::Saved(slot));
    }

    /// Answers reads now, or when it has executed far enough.
    fn on_read(&mut self, reads: Vec<Read<M::Command>>, below: Slot) {
        let limit = self.config.limits.deferred_reads;
        let executed = self.state.replica.executed;
        let below = below.minus(u64::from(self.breaks(Mutant::WaitOneSlotLess)));
        if executed >= below || self.breaks(Mutant::ReadWithoutWaiting) {
            let mut replies = vec![];
            let turn = reads.first().map_or(0, |read| read.id.seq);
            self.answer_reads(reads, executed, &mut replies);
            self.reply_in_turn(turn, replies);
        } else if self.state.deferred.len() + reads.len() <= limit {
            for read in reads {
                self.state.deferred.insert((below, read.id), read.command);
            }
            self.ask_later();
        }
    }

    fn answer_deferred(&mut self, replies: &mut Vec<Reply<M::Output>>) {
        let executed = self.state.replica.executed;
        let shown = executed.minus(u64::from(self.breaks(Mutant::DeferredReadReportsEarlier)));
        let mut due = vec![];
        while let Some(((below, id), command)) = self.state.deferred.get_min().cloned()
            && below <= executed
        {
            self.state.deferred = self.state.deferred.without_min().1;
            due.push(Read { id, command });
        }
        if !due.is_empty() {
            self.answer_reads(due, shown, replies);
        }
    }

    fn answer_reads(
        &mut self,
        reads: Vec<Read<M::Command>>,
        below: Slot,
        replies: &mut Vec<Reply<M::Output>>,
    ) {
        let mut machine = self.state.replica.machine.clone();
        if self.breaks(Mutant::ReadPastHole) {
            let ReplicaState { log, sessions, .. } = &self.state.replica;
            for command in log.values().flat_map(Value::commands) {
                if let (Operation::Apply(operation), None) = (&command.op, sessions.known_answer(&command.id))
                {
                    machine.apply(operation);
                }
            }
        }
        for read in reads {
            let answer = Answer::Output(machine.apply(&read.command));
            replies.push(Reply { id: read.id, below, answer });
        }
    }

    /// Replies to commands, and to the reads that waited for them.
    pub(crate) fn reply(&mut self, replies: Vec<Reply<M::Output>>) {
        let turn = replies.first().map_or(0, |reply| reply.below.0 / self.layout().replicas as u64);
        self.reply_in_turn(turn, replies);
    }

    /// Replies to clients, several at once through an unbatcher if there is one.
    fn reply_in_turn(&mut self, turn: u64, replies: Vec<Reply<M::Output>>) {
        let limits = self.config.limits;
        match self.config.turn(Role::Unbatcher, turn).filter(|_| replies.len() > 1) {
            Some(unbatcher) => {
                for part in parts(replies, limits.batch_commands, limits.page_bytes, Reply::bytes::<M>) {
                    self.send(unbatcher, Msg::Replies(part));
                }
            }
            None => {
                for reply in replies {
                    self.send(reply.id.client_id(), Msg::Reply(reply));
                }
            }
        }
    }

    /// Asks for what it lacks: another replica, each in turn. If none of them has it, the leaders: to fill what a read waits
    /// for, or to recover a slot that was lost.
    pub(super) fn on_catch_up_timeout(&mut self) {
        self.state.asks = false;
        if !self.state.lacks() || self.breaks(Mutant::NoFill) {
            return;
        }
        self.state.tries += 1;
        let (index, replicas) = (self.index, self.layout().replicas);
        if replicas > 1 {
            let source = self.state.replica.next_source(index, replicas);
            let source = self.layout().id(Role::Replica, source);
            self.ask_for_missing(source);
        }
        if self.state.tries >= replicas as u64 {
            self.state.tries = 0;
            let slot = self.state.replica.executed;
            self.send_to_leaders(self.config.leader_group(slot), None, &Msg::Recover(slot));
        } else if let Some(((below, _), _)) = self.state.deferred.get_max().filter(|_| !self.state.has_hole())
        {
            let msg = Msg::Fill(*below);
            self.send_to_all(Role::Leader, None, &msg);
        }
        self.ask_later();
    }

    fn ask_for_missing(&mut self, source: Id) {
        let question = match self.state.replica.missing() {
            Missing::Part { slot, cursor } => Msg::FetchSnapshot { slot, cursor },
            Missing::Log(from) => Msg::CatchUp { from },
        };
        self.send(source, question);
        self.state.asks = true;
        self.set_timer(Timer::CatchUp);
    }

    /// Sends chosen values, or a snapshot if they are gone.
    fn on_catch_up(&mut self, replica: Id, from: Slot) {
        let limits = self.config.limits.page();
        let answer = if from < self.state.replica.log_start {
            Msg::SnapshotPart(self.state.replica.lend_part(None, limits.bytes))
        } else {
            Msg::Chosen { from, values: self.state.replica.page(from, limits) }
        };
        self.send(replica, answer);
    }

    fn on_fetch_snapshot(&mut self, replica: Id, slot: Slot, cursor: &SnapshotCursor<M>) {
        let max_bytes = self.config.limits.page_bytes;
        let part = self.state.replica.lend_part(Some((slot, cursor)), max_bytes);
        self.send(replica, Msg::SnapshotPart(part));
    }

    /// Adds a part; asks for the next one, or goes on from the whole.
    fn on_snapshot_part(&mut self, source: Id, part: SnapshotPart<M>) {
        let limits = self.config.limits.replica();
        let (_, index) = self.layout().role(source);
        let before = self.state.replica.executed;
        if self.state.replica.add_part(index, part, limits) {
            let mut replies = vec![];
            self.save();
            self.answer_deferred(&mut replies);
            self.execute(&mut replies);
            self.settle(before);
            self.reply(replies);
        } else {
            self.ask_for_missing(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compartmentalized::{
        Bounds, Config, Consistency, Group, Layout, Limits, Node, ReadScheme, State, Timing,
    };
    use crate::faults::Correct;
    use crate::state_machine::{Bytes, KeyValue, KeyValueCommand, MAX_KEY_BYTES};
    use stateright::actor::{Actor, Command, Out};
    use std::borrow::Cow;
    use std::sync::Arc;

    const LAYOUT: Layout = Layout {
        leaders: 1,
        proxies: 1,
        acceptors: 1,
        replicas: 1,
        batchers: 0,
        unbatchers: 1,
        read_batchers: 1,
    };

    fn start(role: Role) -> (Node<KeyValue>, State<KeyValue>) {
        let config = Arc::new(Config {
            layout: LAYOUT,
            leader_groups: 1,
            groups: vec![Group::grid(0, 1, 1)],
            saves_needed: 1,
            known_clients: vec![],
            read_scheme: ReadScheme::Timed,
            limits: Limits::default(),
            timing: Timing::default(),
            bounds: Bounds::default(),
            faults: Correct,
        });
        let actor = Node::of(role, Part { index: 0, lost_storage: false, config }).unwrap();
        let state = actor.on_start(LAYOUT.id(role, 0), &None, &mut Out::new());
        (actor, state)
    }

    /// What a node of a role sends when it gets messages, and then its batch is old enough.
    fn sent(
        role: Role,
        (actor, state): (Node<KeyValue>, State<KeyValue>),
        msgs: Vec<(Id, Msg<KeyValue>)>,
    ) -> Vec<Msg<KeyValue>> {
        let (id, mut state, mut out) = (LAYOUT.id(role, 0), Cow::Owned(state), Out::new());
        for (src, msg) in msgs {
            actor.on_msg(id, &mut state, src, msg, &mut out);
        }
        actor.on_timeout(id, &mut state, &Timer::Batch, &mut out);
        let sent = out.into_iter().filter_map(|command| match command {
            Command::Send(_, msg) => Some(msg),
            _ => None,
        });
        sent.collect()
    }

    /// A read of a key of so many bytes.
    fn read(number: usize, bytes: usize) -> Read<KeyValueCommand> {
        let client = LAYOUT.nodes() as u64;
        let id = CommandId { client, session: 0, pseudonym: u32::try_from(number).unwrap(), seq: 1 };
        Read { id, command: KeyValueCommand::Get(Bytes::from(&vec![b'k'; bytes])) }
    }

    /// How many bytes a message may have that is no more than a page.
    const PAGE: usize = 24 * 1024 + 64;

    fn bytes(msg: &Msg<KeyValue>) -> usize {
        postcard::to_stdvec(msg).unwrap().len()
    }

    #[test]
    fn replies_that_travel_together_keep_to_a_page() {
        const READS: usize = 256;
        let mut replica = start(Role::Replica);
        let State::Replica(state) = &mut replica.1 else { panic!("a replica") };
        let put = KeyValueCommand::Put(Bytes::from("k"), Bytes::from(&vec![b'v'; 300]));
        state.replica.machine.apply(&put);
        let reads = (0..READS).map(|number| read(number, 1)).collect();
        let batcher = LAYOUT.id(Role::ReadBatcher, 0);
        let replies = sent(Role::Replica, replica, vec![(batcher, Msg::Read { reads, below: Slot::ZERO })]);
        assert!(
            replies.iter().all(|msg| bytes(msg) <= PAGE),
            "{:?}",
            replies.iter().map(bytes).collect::<Vec<_>>()
        );
        let count = |msg: &Msg<_>| if let Msg::Replies(replies) = msg { replies.len() } else { 0 };
        assert_eq!(replies.iter().map(count).sum::<usize>(), READS);
    }

    #[test]
    fn reads_that_travel_together_keep_to_a_page() {
        const READS: usize = 100;
        let ask = |number| {
            let read = read(number, MAX_KEY_BYTES);
            let msg = Msg::ReadRequest { read, consistency: Consistency::Eventual, seen: Slot::ZERO };
            (Id::from(LAYOUT.nodes()), msg)
        };
        let passed = sent(Role::ReadBatcher, start(Role::ReadBatcher), (0..READS).map(ask).collect());
        assert!(
            passed.iter().all(|msg| bytes(msg) <= PAGE),
            "{:?}",
            passed.iter().map(bytes).collect::<Vec<_>>()
        );
        let count = |msg: &Msg<_>| if let Msg::Read { reads, .. } = msg { reads.len() } else { 0 };
        assert_eq!(passed.iter().map(count).sum::<usize>(), READS);
    }
}
