//! What clients asked and were told, as part of a ghost.
//!
//! Only the order between returns and invocations matters for linearizability. Neighbouring invocations, and neighbouring
//! returns, are therefore kept sorted: histories that differ only in their order are one.

use crate::linearizability::{self, Linearizability, Operation, Return, SequentialSpec, StepLimit};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::{Command, CommandId, Operation as Asked};
use parthood_protocols::sessions::Answer;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

/// Does a client's script have this, or is it the opening of its session? There is no script where there is no such client.
pub(crate) fn was_asked<C: PartialEq>(script: Option<&[C]>, command: &Command<C>) -> bool {
    let Some(script) = script else { return false };
    match &command.op {
        Asked::Open { .. } => command.id.seq == 0,
        Asked::Apply(op) => usize::try_from(command.id.seq)
            .ok()
            .and_then(|seq| script.get(seq.checked_sub(1)?))
            .is_some_and(|asked| asked == op),
    }
}

/// The history of all clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History<C, O> {
    events: Vec<Event<C, O>>,
    /// The answers that servers gave, by command.
    answers: BTreeMap<CommandId, O>,
    /// Was some command answered in two ways?
    answered_twice: bool,
    /// Is the history so far linearizable?
    linearizable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Event<C, O> {
    Invoked(CommandId, C),
    Returned(CommandId, O),
}

impl<C, O> Default for History<C, O> {
    fn default() -> Self {
        Self { events: vec![], answers: BTreeMap::new(), answered_twice: false, linearizable: true }
    }
}

impl<C: Clone + Ord, O: Clone + Ord> History<C, O> {
    /// A client sends this. The first copy of a command is its invocation.
    pub fn sent_by_client(&mut self, msg: &ClientMsg<C, O>) {
        let ClientMsg::Request(command) = msg else { return };
        if let Asked::Apply(op) = &command.op {
            self.invoked(command.id, op);
        }
    }

    /// A client asks for this, perhaps not for the first time.
    pub fn invoked(&mut self, id: CommandId, op: &C) {
        if !self.events.iter().any(|event| matches!(event, Event::Invoked(known, _) if *known == id)) {
            self.push(Event::Invoked(id, op.clone()));
        }
    }

    /// A server sends this.
    pub fn sent_by_server(&mut self, msg: &ClientMsg<C, O>) {
        if let ClientMsg::Reply { id, answer: Answer::Output(output) } = msg {
            self.answered(*id, output);
        }
    }

    /// These answers were never sent: a crash undid the steps that were to send them.
    pub fn unsent(&mut self, never: impl Fn(&CommandId) -> bool) {
        self.answers.retain(|id, _| !never(id));
    }

    /// A server gives this answer to a command.
    pub fn answered(&mut self, id: CommandId, output: &O) {
        let first = self.answers.entry(id).or_insert_with(|| output.clone());
        self.answered_twice |= first != output;
    }

    /// A client that waited for this was told.
    pub fn returned<S>(&mut self, spec: &S, msg: &ClientMsg<C, O>)
    where
        S: SequentialSpec<Op = C, Output = O>,
    {
        if let ClientMsg::Reply { id, answer: Answer::Output(output) } = msg {
            self.told(spec, *id, output);
        }
    }

    /// A client that waited for this answer got it.
    pub fn told<S>(&mut self, spec: &S, id: CommandId, output: &O)
    where
        S: SequentialSpec<Op = C, Output = O>,
    {
        self.push(Event::Returned(id, output.clone()));
        self.linearizable = self.linearizable && self.is_linearizable(spec);
    }

    /// Was no command answered in two ways?
    pub fn answers_agree(&self) -> bool {
        !self.answered_twice
    }

    /// Was the history linearizable each time that something returned?
    pub fn linearizable(&self) -> bool {
        self.linearizable
    }

    fn push(&mut self, event: Event<C, O>) {
        let same_kind =
            |other: &Event<C, O>| matches!(other, Event::Invoked(..)) == matches!(event, Event::Invoked(..));
        let run = self.events.iter().rposition(|other| !same_kind(other)).map_or(0, |last| last + 1);
        let place = run + self.events[run..].partition_point(|other| *other < event);
        self.events.insert(place, event);
    }

    fn is_linearizable<S>(&self, spec: &S) -> bool
    where
        S: SequentialSpec<Op = C, Output = O>,
    {
        let mut operations: Vec<Operation<C, O>> = vec![];
        let mut open = BTreeMap::new();
        for (now, event) in (0..).zip(&self.events) {
            match event {
                Event::Invoked(id, op) => {
                    open.insert(*id, operations.len());
                    operations.push(Operation {
                        client: id.client,
                        op: op.clone(),
                        invoked: now,
                        returned: None,
                    });
                }
                Event::Returned(id, output) => {
                    if let Some(operation) = open.get(id).and_then(|index| operations.get_mut(*index)) {
                        operation.returned = Some(Return { at: now, output: output.clone() });
                    }
                }
            }
        }
        let verdict = linearizability::check(spec, &operations, StepLimit::default());
        matches!(verdict, Linearizability::Linearizable { .. })
    }
}
