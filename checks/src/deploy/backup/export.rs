//! One state of the store, page by page, from a replica that goes on meanwhile.

use super::super::{Cluster, Deployable, KvClient, StateOf};
use super::Entry;
use crate::error::Error;
use parthood_protocols::durable::Change;
use parthood_protocols::state_machine::{
    Batch, BatchedCommand, Bytes, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _,
};
use parthood_runtime::udp::{Answers, Inquirer, MAX_INQUIRY_LEN};
use parthood_runtime::wire::{decode, encode, entropy};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// What keys begin with that are no part of a backup.
const MARKER: &[u8] = b"parthood.backup.";
/// The states that an event loop keeps at a time; the one that was asked for longest ago gives way.
const MAX_KEPT: usize = 4;
/// How long a state is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// About the bytes of a page; the largest entry has more, and fits a datagram.
const PAGE_BYTES: usize = 16 << 10;
/// How long a node may take before the next one is asked.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a node may take to forget a state.
const FORGOTTEN_IN: Duration = Duration::from_millis(100);

/// Is it a key of a backup that was under way?
pub(super) fn is_marker(key: &Bytes) -> bool {
    key.as_slice().starts_with(MARKER) && key.as_slice().len() == MARKER.len() + 32
}

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// Keep the state that you have now, under this name, if it holds this key.
    Keep { name: u64, marker: Option<Bytes> },
    /// The part of the state of this name behind this key.
    Page { name: u64, after: Option<Bytes> },
    /// The state of this name is not wanted any more.
    Forget { name: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// It is kept; so much is executed in it.
    Kept { executed: u64 },
    /// It does not hold the key yet.
    NotYet,
    /// The node has no store.
    NoStore,
    /// Some entries, and the key after which to go on if there are more.
    Page { entries: Vec<Entry>, next: Option<Bytes> },
    /// No state of this name is kept any more.
    Gone,
}

struct Kept {
    name: u64,
    node: Id,
    machine: KeyValue,
    executed: u64,
    asked: Instant,
}

/// Answers those who want the state of a hosted node.
pub(in crate::deploy) fn exporting<D: Deployable>() -> impl Answers<D::Actor> + 'static {
    Exporting::<D> { kept: Vec::new(), protocol: PhantomData }
}

struct Exporting<D> {
    kept: Vec<Kept>,
    protocol: PhantomData<fn() -> D>,
}

impl<D: Deployable> Answers<D::Actor> for Exporting<D> {
    fn answer(&mut self, node: Id, state: &StateOf<D>, question: &[u8]) -> Option<Vec<u8>> {
        let question = decode(question).ok()?;
        let answer = reply(&mut self.kept, node, D::replica(state), question, Instant::now());
        let mut bytes = Vec::new();
        encode(&answer, &mut bytes, MAX_INQUIRY_LEN).ok()?;
        Some(bytes)
    }

    fn look(&mut self, now: Instant) {
        let_go(&mut self.kept, now);
    }
}

/// Forgets states that nobody has asked for any more.
fn let_go(kept: &mut Vec<Kept>, now: Instant) {
    kept.retain(|one| now.saturating_duration_since(one.asked) < KEPT_FOR);
}

fn reply(
    kept: &mut Vec<Kept>,
    node: Id,
    replica: Option<(u64, &KeyValue)>,
    question: Question,
    now: Instant,
) -> Answer {
    let_go(kept, now);
    let Some((executed, machine)) = replica else { return Answer::NoStore };
    let (Question::Keep { name, .. } | Question::Page { name, .. } | Question::Forget { name }) = question;
    let known = kept.iter_mut().find(|one| (one.name, one.node) == (name, node));
    match (question, known) {
        (Question::Keep { .. }, Some(known)) => Answer::Kept { executed: known.executed },
        (Question::Keep { marker, .. }, None) => {
            if marker.is_some_and(|marker| machine.get(&marker).is_none()) {
                return Answer::NotYet;
            }
            if kept.len() == MAX_KEPT {
                let oldest = kept.iter().enumerate().min_by_key(|(_, one)| one.asked).map(|(place, _)| place);
                oldest.map(|place| kept.swap_remove(place));
            }
            kept.push(Kept { name, node, machine: machine.clone(), executed, asked: now });
            Answer::Kept { executed }
        }
        (Question::Page { after, .. }, Some(known)) => {
            known.asked = now;
            let part = known.machine.export(after.as_ref(), PAGE_BYTES);
            let entries = part.changes.into_iter().filter_map(|change| match change {
                Change::Put(key, value) => Some((key, value)),
                Change::Remove(_) => None,
            });
            Answer::Page { entries: entries.collect(), next: part.next }
        }
        (Question::Forget { .. }, Some(_)) => {
            kept.retain(|one| (one.name, one.node) != (name, node));
            Answer::Gone
        }
        (Question::Page { .. } | Question::Forget { .. }, None) => Answer::Gone,
    }
}

/// A state that a replica keeps for us.
pub(super) struct Export {
    inquirer: Inquirer,
    node: Id,
    name: u64,
    executed: u64,
    /// All nodes that keep a state of this name.
    kept_at: Vec<Id>,
    timeout: Duration,
}

impl Drop for Export {
    fn drop(&mut self) {
        for node in self.kept_at.clone() {
            // A node that does not hear this forgets it by itself after a while.
            let _ = ask(&mut self.inquirer, node, &Question::Forget { name: self.name }, FORGOTTEN_IN);
        }
    }
}

impl Export {
    /// A state that holds all that was acknowledged before this call.
    pub(super) fn of_everything(
        cluster: &Cluster,
        client: &KvClient,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let digits = format!("{:032x}", u128::from_le_bytes(entropy()?));
        let marker = Bytes::from(&[MARKER, digits.as_bytes()].concat());
        // To count conflicts with every write, so this is ordered among all of them.
        let put = [BatchedCommand::Put(marker.clone(), Bytes::from("")), BatchedCommand::Count];
        let put = KeyValueCommand::Batch(put.into_iter().collect::<Batch>());
        let failed = |why: &dyn std::fmt::Display| {
            Error::Environment(format!(
                "no consistent state of the cluster can be had: {why}; `parthood status` says who is needed, and \
                 `backup --stale` takes what one replica has"
            ))
        };
        match client.execute(put) {
            Ok(KeyValueOutput::Batch(_)) => {}
            Ok(other) => return Err(failed(&format_args!("the cluster answers {other:?}"))),
            Err(why) => return Err(failed(&why)),
        }
        let export = Self::keep(cluster, Some(&marker), timeout);
        // It would be left out of a backup anyway.
        let removed = client.delete(marker.as_slice());
        let export =
            export?.ok_or_else(|| failed(&"no replica has answered that has executed everything"))?;
        removed.map_err(|why| failed(&why))?;
        Ok(export)
    }

    /// The state of the replica that has executed most, of those that answer.
    pub(super) fn of_some_replica(cluster: &Cluster, timeout: Duration) -> Result<Self, Error> {
        Self::keep(cluster, None, timeout)?.ok_or_else(|| {
            Error::Environment("no replica answers: are the nodes running, and is the key theirs?".into())
        })
    }

    /// Has a replica keep its state: the first one that holds the marker, or the one that has executed most.
    fn keep(cluster: &Cluster, marker: Option<&Bytes>, timeout: Duration) -> Result<Option<Self>, Error> {
        let mut inquirer = Inquirer::new(cluster.identity(), &cluster.keys()?, &cluster.book())?;
        let name = u64::from_le_bytes(entropy()?);
        let question = Question::Keep { name, marker: marker.cloned() };
        let begun = Instant::now();
        let mut nodes: Vec<Id> = (0..cluster.members.len()).map(Id::from).collect();
        let (mut best, mut kept_at): (Option<(u64, Id)>, Vec<Id>) = (None, Vec::new());
        loop {
            let mut others = Vec::new();
            for node in nodes {
                match ask(&mut inquirer, node, &question, PATIENCE.min(timeout))? {
                    Some(Answer::Kept { executed }) => {
                        best = best.max(Some((executed, node)));
                        kept_at.push(node);
                    }
                    Some(Answer::NoStore) => continue,
                    _ => {}
                }
                if marker.is_some() && best.is_some() {
                    break;
                }
                others.push(node);
            }
            if best.is_some() || others.is_empty() || begun.elapsed() >= timeout {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            nodes = others;
        }
        Ok(best.map(|(executed, node)| Self { inquirer, node, name, executed, kept_at, timeout }))
    }

    /// How much was executed in it.
    pub(super) fn executed(&self) -> u64 {
        self.executed
    }

    /// Whose state it is.
    pub(super) fn node_name(&self, cluster: &Cluster) -> String {
        cluster.members.get(usize::from(self.node)).map_or_else(String::new, |member| member.name.clone())
    }

    /// All keys with their values, in the order of the keys, but markers.
    pub(super) fn entries(&mut self) -> impl Iterator<Item = Result<Entry, Error>> + '_ {
        let mut entries = Vec::new().into_iter();
        let mut after = Some(None);
        let all = std::iter::from_fn(move || {
            loop {
                if let Some(entry) = entries.next() {
                    return Some(Ok(entry));
                }
                match self.page(after.take()?) {
                    Ok((page, next)) => {
                        entries = page.into_iter();
                        after = next.map(Some);
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        all.filter(|entry| entry.as_ref().map_or(true, |(key, _)| !is_marker(key)))
    }

    fn page(&mut self, after: Option<Bytes>) -> Result<(Vec<Entry>, Option<Bytes>), Error> {
        let question = Question::Page { name: self.name, after };
        match ask(&mut self.inquirer, self.node, &question, self.timeout)? {
            Some(Answer::Page { entries, next }) => Ok((entries, next)),
            Some(_) => Err(Error::Environment(
                "the replica has forgotten the state that it kept: it was started again; try once more"
                    .into(),
            )),
            None => Err(Error::Environment(format!(
                "the replica has not answered within {:?}: try once more",
                self.timeout
            ))),
        }
    }
}

fn ask(
    inquirer: &mut Inquirer,
    node: Id,
    question: &Question,
    patience: Duration,
) -> Result<Option<Answer>, Error> {
    let mut bytes = Vec::new();
    encode(question, &mut bytes, MAX_INQUIRY_LEN)
        .map_err(|error| Error::Environment(format!("a question cannot be encoded: {error}")))?;
    let Some(answer) = inquirer.ask(node, &bytes, patience)? else { return Ok(None) };
    let answer = decode(&answer).map_err(|error| {
        Error::Environment(format!(
            "a node answers what this program does not understand ({error}): is it of the same version?"
        ))
    })?;
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::MultiPaxos;

    fn store(keys: usize, bytes: usize) -> KeyValue {
        let mut store = KeyValue::default();
        for key in 0..keys {
            let put = KeyValueCommand::Put(Bytes::from(&format!("{key:04}")), Bytes::from(&vec![7; bytes]));
            store.apply(&put);
        }
        store
    }

    fn keep(name: u64, marker: Option<&str>) -> Question {
        Question::Keep { name, marker: marker.map(Bytes::from) }
    }

    #[test]
    fn a_kept_state_is_handed_out_as_it_was_and_pages_fit_an_answer() {
        let (mut kept, node, now) = (Vec::new(), Id::from(0), Instant::now());
        let mut store = store(50, 16 << 10);
        assert!(matches!(reply(&mut kept, node, Some((5, &store)), keep(1, Some("x")), now), Answer::NotYet));
        assert!(matches!(
            reply(&mut kept, node, Some((5, &store)), keep(1, None), now),
            Answer::Kept { executed: 5 }
        ));
        let before = store.clone();
        store.apply(&KeyValueCommand::Delete(Bytes::from("0007")));
        assert!(
            matches!(
                reply(&mut kept, node, Some((6, &store)), keep(1, None), now),
                Answer::Kept { executed: 5 }
            ),
            "a question that comes twice changes nothing"
        );
        let (mut after, mut entries) = (None, Vec::new());
        loop {
            let question = Question::Page { name: 1, after };
            let answer = reply(&mut kept, node, Some((6, &store)), question, now);
            encode(&answer, &mut Vec::new(), MAX_INQUIRY_LEN).unwrap();
            let Answer::Page { entries: page, next } = answer else { panic!("{answer:?}") };
            entries.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<Entry> = before.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(entries, expected);
        assert!(matches!(reply(&mut kept, node, None, keep(2, None), now), Answer::NoStore));
    }

    #[test]
    fn few_states_are_kept_and_not_for_ever() {
        let (mut kept, node, now) = (Vec::new(), Id::from(0), Instant::now());
        let store = store(1, 1);
        for name in 0..100 {
            reply(&mut kept, node, Some((1, &store)), keep(name, None), now + Duration::from_millis(name));
            assert!(kept.len() <= MAX_KEPT);
        }
        let page = |name| Question::Page { name, after: None };
        assert!(matches!(reply(&mut kept, node, Some((1, &store)), page(0), now), Answer::Gone));
        assert!(matches!(reply(&mut kept, node, Some((1, &store)), page(99), now), Answer::Page { .. }));
        assert!(matches!(
            reply(&mut kept, node, Some((1, &store)), page(99), now + 2 * KEPT_FOR),
            Answer::Gone
        ));
    }

    #[test]
    fn a_state_that_nobody_asks_for_is_let_go_though_no_question_comes() {
        let mut exporting = Exporting::<MultiPaxos> { kept: Vec::new(), protocol: PhantomData };
        let (node, now, store) = (Id::from(0), Instant::now(), store(1, 1));
        reply(&mut exporting.kept, node, Some((1, &store)), keep(1, None), now);
        exporting.look(now + KEPT_FOR / 2);
        assert_eq!(exporting.kept.len(), 1);
        exporting.look(now + KEPT_FOR);
        assert!(exporting.kept.is_empty());
    }
}
