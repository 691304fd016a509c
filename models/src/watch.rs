//! The same properties on a run that happens elsewhere: in the simulator, or in a recorded deployment.

use crate::protocol::{Kind, Property, Protocol, StateOf, States, Step, View};
use std::borrow::Cow;

/// A ghost and the properties, fed with the steps of a run.
pub struct Watch<P: Protocol> {
    protocol: P,
    properties: Vec<Property<P>>,
    /// Always `Cow::Owned`, so that `to_mut` changes it in place.
    ghost: Cow<'static, P::Ghost>,
    /// Properties that should hold somewhere and have not yet.
    unreached: Vec<&'static str>,
}

impl<P: Protocol> Watch<P> {
    /// Watches from before the first step.
    pub fn new(protocol: P) -> Self {
        let properties = protocol.properties();
        let ghost = Cow::Owned(protocol.ghost());
        let unreached = properties.iter().filter(|property| property.kind == Kind::Sometimes);
        let unreached = unreached.map(|property| property.name).collect();
        Self { protocol, properties, ghost, unreached }
    }

    /// Notes a step.
    pub fn observe(&mut self, step: &Step<'_, P::Actor>) {
        self.protocol.observe(&mut self.ghost, step);
    }

    /// The name of a property that does not hold now, given the states of all actors; `end` says that the run is
    /// over. Also notes which of the properties that should hold somewhere do.
    pub fn violated(&mut self, states: &[&StateOf<P>], end: bool) -> Option<&'static str> {
        let view = View { protocol: &self.protocol, states: States::Borrowed(states), ghost: &self.ghost };
        let properties = &self.properties;
        let holds =
            |name: &str| properties.iter().any(|property| property.name == name && (property.holds)(&view));
        self.unreached.retain(|name| !holds(name));
        let asked = |kind: Kind| kind == Kind::Always || (end && kind == Kind::AtTheEnd);
        let failing = properties.iter().find(|property| asked(property.kind) && !(property.holds)(&view));
        failing.map(|property| property.name)
    }

    /// The properties that should hold somewhere and have not so far.
    pub fn unreached(&self) -> &[&'static str] {
        &self.unreached
    }

    /// History.
    pub fn ghost(&self) -> &P::Ghost {
        &self.ghost
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }
}
