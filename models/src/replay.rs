//! Paths, and what happens along them in words.
//!
//! A path is the list of the indices of its actions, the numbering that Stateright's Explorer uses in its links: the
//! link opens the very state that the path leads to.

use crate::network::Packet;
use crate::protocol::{Cause, Protocol, Step};
use crate::state::State;
use crate::system::{Input, Move, System};
use crate::transition::Transition;
use crate::{Error, index};
use stateright::actor::{Command, Id};
use std::fmt;
use std::str::FromStr;

/// A way through a system from its initial state, by the index of each action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<u16>);

impl Path {
    /// The path with these action indices.
    pub fn new(actions: Vec<u16>) -> Self {
        Self(actions)
    }

    /// The index of each action.
    pub fn actions(&self) -> &[u16] {
        &self.0
    }

    /// What follows the Explorer's address to open the state at the end of the path.
    pub fn link(&self) -> String {
        format!("#/steps/{self}")
    }
}

/// Numbers separated by slashes, as in the Explorer's links. The first is that of the initial state.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0")?;
        self.0.iter().try_for_each(|action| write!(f, "/{action}"))
    }
}

impl FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::NotAPath(text.to_owned());
        let digits = text.trim().trim_start_matches("#/steps/").trim_matches('/');
        let numbers: Result<Vec<u16>, _> = digits.split('/').map(str::parse).collect();
        match numbers.map_err(|_| wrong())?.split_first() {
            Some((0, actions)) => Ok(Self(actions.to_vec())),
            _ => Err(wrong()),
        }
    }
}

/// What happened along a path, in words; independent of the protocol, so that one function draws any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The actors.
    pub lanes: Vec<Lane>,
    /// The steps, in order.
    pub steps: Vec<TraceStep>,
    /// What the path shows, such as the name of a violated property.
    pub title: String,
}

/// An actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name, such as "acceptor 1".
    pub name: String,
    /// Its role, such as "acceptor".
    pub role: &'static str,
}

/// One actor's step. A move of the checker is one step, or several if messages are delivered eagerly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// The move that the step belongs to, counted from 1; 0 for the first start, and for a step alone.
    pub number: usize,
    /// The actor: an index into [`Trace::lanes`].
    pub actor: usize,
    /// What it reacted to.
    pub cause: TraceCause,
    /// Its state afterwards, if it changed.
    pub state: Option<String>,
    /// Did it save?
    pub saves: bool,
    /// What it sent.
    pub sends: Vec<TraceSend>,
}

/// What a step reacted to, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceCause {
    /// The first start.
    Start,
    /// A restart from what was saved.
    Restart,
    /// A message arrived.
    Deliver {
        /// Its sender: an index into [`Trace::lanes`].
        from: usize,
        /// The message.
        label: String,
        /// Which step sent it: an index into [`Trace::steps`].
        sent: Option<usize>,
    },
    /// A message to this actor was lost.
    Lost {
        /// Its sender: an index into [`Trace::lanes`].
        from: usize,
        /// The message.
        label: String,
        /// Which step sent it: an index into [`Trace::steps`].
        sent: Option<usize>,
    },
    /// A timer fired.
    Timeout(String),
    /// A random choice was taken.
    Random(String),
    /// It crashed before what it saved in answer to this was durable.
    Crash(String),
}

/// A message sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSend {
    /// Its receiver: an index into [`Trace::lanes`], unless nobody has that number.
    pub to: usize,
    /// The message.
    pub label: String,
}

impl<P: Protocol> System<P> {
    /// What happens along a path.
    ///
    /// # Errors
    /// When the path does not fit the system.
    pub fn trace(&self, path: &Path) -> Result<Trace, Error> {
        let mut trace = self.empty_trace();
        let _ = self.start(&mut |step| trace.push::<P>(0, step));
        let mut number = 0;
        self.follow(path, |state, mv, _| {
            number += 1;
            self.trace_move(state, mv, number, &mut trace);
        })?;
        Ok(trace)
    }

    pub(crate) fn empty_trace(&self) -> Trace {
        let ids = (0..self.actors.len()).map(Id::from);
        let lanes =
            ids.map(|id| Lane { name: self.protocol.name(id), role: self.protocol.role(id) }).collect();
        Trace { lanes, ..Trace::default() }
    }

    fn trace_move(&self, state: &State<P>, mv: Move, number: usize, trace: &mut Trace) {
        let bare = |actor: Id, cause| TraceStep {
            number,
            actor: index(actor),
            cause,
            state: None,
            saves: false,
            sends: Vec::new(),
        };
        match mv {
            Move::Drop(at) => {
                if let Some(packet) = state.flight.get(usize::from(at)) {
                    let (from, label) = (index(packet.src), P::describe_msg(&packet.msg));
                    let sent = trace.sender(from, index(packet.dst), &label);
                    trace.steps.push(bare(packet.dst, TraceCause::Lost { from, label, sent }));
                }
            }
            Move::Tear(input) => {
                if let Some((actor, what)) = self.describe_input(state, input) {
                    trace.steps.push(bare(actor, TraceCause::Crash(what)));
                }
            }
            Move::React(_) | Move::Restart(_) => {}
        }
        let mut next = state.clone();
        Transition::new(self, state, &mut |step| trace.push::<P>(number, step)).make(mv, &mut next);
    }

    /// A move in words.
    pub fn describe(&self, state: &State<P>, mv: Move) -> String {
        let name = |id: Id| self.protocol.name(id);
        match mv {
            Move::React(input) => match (input, self.describe_input(state, input)) {
                (Input::Deliver(_), Some((id, what))) => format!("{} gets {what}", name(id)),
                (Input::Timeout(_), Some((id, what))) => format!("{}: {what}", name(id)),
                (Input::Random { .. }, Some((id, what))) => format!("{} {what}", name(id)),
                (_, None) => "nothing".to_owned(),
            },
            Move::Tear(input) => match self.describe_input(state, input) {
                Some((id, what)) => format!("{} crashes while it handles {what}, and restarts", name(id)),
                None => "nothing".to_owned(),
            },
            Move::Drop(at) => match state.flight.get(usize::from(at)) {
                Some(packet) => {
                    format!("lost on the way to {}: {}", name(packet.dst), self.describe_packet(packet))
                }
                None => "nothing".to_owned(),
            },
            Move::Restart(at) => format!("{} crashes and restarts", name(usize::from(at).into())),
        }
    }

    fn describe_packet(&self, packet: &Packet<crate::MsgOf<P>>) -> String {
        format!("{} from {}", P::describe_msg(&packet.msg), self.protocol.name(packet.src))
    }

    fn describe_input(&self, state: &State<P>, input: Input) -> Option<(Id, String)> {
        match input {
            Input::Deliver(at) => {
                let packet = state.flight.get(usize::from(at))?;
                Some((packet.dst, self.describe_packet(packet)))
            }
            Input::Timeout(at) => {
                let (owner, timer) = state.timers.get(usize::from(at))?;
                Some((*owner, format!("timeout {}", P::describe_timer(timer))))
            }
            Input::Random { offer, choice } => {
                let offer = state.offers.get(usize::from(offer))?;
                let choice = offer.choices.get(usize::from(choice))?;
                Some((offer.actor, format!("chooses {} for {}", P::describe_random(choice), offer.key)))
            }
        }
    }
}

impl Trace {
    /// Adds an actor's step. Other worlds use this to draw their runs in the same form.
    pub fn push<P: Protocol>(&mut self, number: usize, step: &Step<'_, P::Actor>) {
        let actor = index(step.id);
        let cause = match step.cause {
            Cause::Start(_) if step.before.is_none() => TraceCause::Start,
            Cause::Start(_) => TraceCause::Restart,
            Cause::Deliver { src, msg } => {
                let (from, label) = (index(src), P::describe_msg(msg));
                let sent = self.sender(from, actor, &label);
                TraceCause::Deliver { from, label, sent }
            }
            Cause::Timeout(timer) => TraceCause::Timeout(P::describe_timer(timer)),
            Cause::Random(random) => TraceCause::Random(P::describe_random(random)),
        };
        let sends = step.out.iter().filter_map(|command| match command {
            Command::Send(dst, msg) => Some(TraceSend { to: index(*dst), label: P::describe_msg(msg) }),
            _ => None,
        });
        let changed = step.before.is_none_or(|before| before != step.after);
        self.steps.push(TraceStep {
            number,
            actor,
            cause,
            state: changed.then(|| P::describe_state(step.after)),
            saves: step.out.iter().any(|command| matches!(command, Command::Save(_))),
            sends: sends.collect(),
        });
    }

    /// The last step of `from` that sent this to `to`.
    fn sender(&self, from: usize, to: usize, label: &str) -> Option<usize> {
        self.steps.iter().rposition(|step| {
            step.actor == from && step.sends.iter().any(|send| send.to == to && send.label == label)
        })
    }

    fn name(&self, lane: usize) -> &str {
        self.lanes.get(lane).map_or("nobody", |lane| &lane.name)
    }
}

/// Numbered steps; what an actor sends and its new state are indented below.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "{}", self.title)?;
        }
        for step in &self.steps {
            let actor = self.name(step.actor);
            match step.number {
                // The first start belongs to no move, nor does a step that is shown alone.
                0 => write!(f, "     ")?,
                number => write!(f, "{number:>3}. ")?,
            }
            match &step.cause {
                TraceCause::Start => writeln!(f, "{actor} starts")?,
                TraceCause::Restart => writeln!(f, "{actor} restarts from what it saved")?,
                TraceCause::Deliver { from, label, .. } => {
                    writeln!(f, "{actor} gets {label} from {}", self.name(*from))?;
                }
                TraceCause::Lost { from, label, .. } => {
                    writeln!(f, "{label} from {} to {actor} is lost", self.name(*from))?;
                }
                TraceCause::Timeout(timer) => writeln!(f, "{actor}: timeout {timer}")?,
                TraceCause::Random(choice) => writeln!(f, "{actor} chooses {choice}")?,
                TraceCause::Crash(what) => writeln!(f, "{actor} crashes while it handles {what}")?,
            }
            for send in &step.sends {
                writeln!(f, "       sends {} to {}", send.label, self.name(send.to))?;
            }
            if let Some(state) = &step.state {
                writeln!(f, "       now {state}{}", if step.saves { " (saved)" } else { "" })?;
            }
        }
        Ok(())
    }
}
