//! A state in words, for people who walk through a system by hand.

use crate::protocol::{Kind, Protocol};
use crate::{Error, Path, State, System, index};
use serde::Serialize;

/// What can be seen at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Look {
    /// The actors.
    pub actors: Vec<ActorLook>,
    /// The messages in flight.
    pub in_flight: Vec<MessageLook>,
    /// What can happen. What an actor would ignore is left out.
    pub moves: Vec<MoveLook>,
    /// The properties.
    pub properties: Vec<PropertyLook>,
}

/// An actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActorLook {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// Its state.
    pub state: String,
    /// The timers that it has set.
    pub timers: Vec<String>,
    /// Is it down for good?
    pub down: bool,
}

/// A message in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageLook {
    /// The name of its sender.
    pub from: String,
    /// The name of its receiver.
    pub to: String,
    /// Its content.
    pub message: String,
}

/// Something that can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MoveLook {
    /// Its place in a path.
    pub action: u16,
    /// What it is.
    pub text: String,
}

/// A property, here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PropertyLook {
    /// Its name.
    pub name: &'static str,
    /// How it is to hold: "always", "sometimes" or "at the end".
    pub kind: &'static str,
    /// Does it hold here?
    pub holds: bool,
}

impl<P: Protocol> System<P> {
    /// The state at the end of a path, in words.
    ///
    /// # Errors
    /// When the path does not fit the system.
    pub fn look(&self, path: &Path) -> Result<Look, Error> {
        let state = self.follow(path, |_, _, _| {})?;
        let name = |id| self.protocol.name(id);
        let in_flight = state.messages().map(|(src, dst, msg)| MessageLook {
            from: name(src),
            to: name(dst),
            message: P::describe_msg(msg),
        });
        let properties = self.properties.iter().map(|property| PropertyLook {
            name: property.name,
            kind: match property.kind {
                Kind::Always => "always",
                Kind::Sometimes => "sometimes",
                Kind::AtTheEnd => "at the end",
            },
            holds: self.holds(property, &state),
        });
        Ok(Look {
            actors: self.look_at_actors(&state),
            in_flight: in_flight.collect(),
            moves: self.look_at_moves(&state),
            properties: properties.collect(),
        })
    }

    fn look_at_actors(&self, state: &State<P>) -> Vec<ActorLook> {
        let actor = |at: usize, actor| ActorLook {
            name: self.protocol.name(at.into()),
            role: self.protocol.role(at.into()),
            state: P::describe_state(actor),
            timers: state
                .timers()
                .filter(|(owner, _)| index(*owner) == at)
                .map(|(_, timer)| P::describe_timer(timer))
                .collect(),
            down: self.is_down(at.into()),
        };
        state.actors().iter().enumerate().map(|(at, state)| actor(at, state)).collect()
    }

    fn look_at_moves(&self, state: &State<P>) -> Vec<MoveLook> {
        let mut moves = Vec::new();
        self.moves(state, &mut moves);
        let changes = |mv| self.apply(state, mv).is_some_and(|next| next.fingerprint != state.fingerprint);
        (0..)
            .zip(moves)
            .filter(|(_, mv)| changes(*mv))
            .map(|(action, mv)| MoveLook { action, text: self.describe(state, mv) })
            .collect()
    }
}
