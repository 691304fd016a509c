//! A short simulated run of `multipaxos` with crashes, recorded: where real messages, storages and traces come from.

use parthood::deploy::{Deployable, MultiPaxos};
use parthood::runtime::trace::{CauseRecord, Entry, StepOf, TraceReader};
use parthood::simulate::{self, Storm};
use std::sync::OnceLock;

/// The actor that is deployed.
pub(crate) type Actor = <MultiPaxos as Deployable>::Actor;
/// What it sends.
pub(crate) type Msg = parthood::deploy::MsgOf<MultiPaxos>;
/// What it saves.
pub(crate) type Storage = <Actor as stateright::actor::Actor>::Storage;
/// A recorded step of it.
pub(crate) type Step = StepOf<Actor>;

/// The lines of the recorded run.
pub(crate) fn trace() -> &'static str {
    static TRACE: OnceLock<String> = OnceLock::new();
    TRACE.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().expect("there is room for a file");
        let storm = Storm { clients: 2, commands: 12, seconds: 3, crashes: 3, ..Storm::default() };
        simulate::run(&storm, 3, Some(file.path())).expect("the storm is a possible one");
        std::fs::read_to_string(file.path()).expect("the run was recorded")
    })
}

/// The messages that were delivered in it.
pub(crate) fn messages() -> Vec<Msg> {
    let delivered = steps().map(|step| match step.cause {
        CauseRecord::Deliver { msg, .. } => Some(msg),
        _ => None,
    });
    delivered.flatten().collect()
}

/// What was found after its crashes.
pub(crate) fn storages() -> Vec<Storage> {
    let recovered = steps().map(|step| match step.cause {
        CauseRecord::Recover(storage) => Some(storage),
        _ => None,
    });
    recovered.flatten().collect()
}

fn steps() -> impl Iterator<Item = Step> {
    let reader = TraceReader::<_, Step>::new(trace().as_bytes()).expect("it has a header");
    reader.filter_map(|entry| match entry.expect("it was just written") {
        (_, Entry::Step(step)) => Some(step),
        (_, Entry::Notice { .. }) => None,
    })
}
