//! What is claimed of replicas, whichever actor hosts them.

use parthood_protocols::horizontal::Configured;
use parthood_protocols::log::ReplicaState;
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, AppendLogOutput, StateMachine};

/// What was appended, in order.
pub(crate) fn entries(machine: &AppendLog) -> Vec<u8> {
    match machine.clone().apply(&AppendLogCommand::Read) {
        AppendLogOutput::Entries(entries) => entries,
        AppendLogOutput::Appended(_) => vec![],
    }
}

/// A machine that is an append log, or has one within.
pub(crate) trait Appends: StateMachine {
    /// The append log.
    fn list(&self) -> &AppendLog;
}

impl Appends for AppendLog {
    fn list(&self) -> &AppendLog {
        self
    }
}

impl Appends for Configured<AppendLog> {
    fn list(&self) -> &AppendLog {
        &self.machine
    }
}

/// S4: logs agree slot by slot.
pub(crate) fn logs_agree<M: StateMachine>(replicas: &[&ReplicaState<M>]) -> bool {
    let same = |a: &ReplicaState<M>, b: &ReplicaState<M>| {
        a.log.iter().all(|(slot, value)| b.log.get(slot).is_none_or(|other| other == value))
    };
    replicas.iter().all(|a| replicas.iter().all(|b| same(a, b)))
}

/// S4, for what was executed: the machines executed prefixes of one another.
pub(crate) fn executed_prefixes<M: Appends>(replicas: &[&ReplicaState<M>]) -> bool {
    let entries: Vec<Vec<u8>> = replicas.iter().map(|replica| entries(replica.machine.list())).collect();
    entries.iter().all(|a| entries.iter().all(|b| a.iter().zip(b).all(|(a, b)| a == b)))
}

/// S4, for what a snapshot carries: replicas that executed equally far have the same machine and client table.
pub(crate) fn equal_logs_give_equal_states<M: StateMachine>(replicas: &[&ReplicaState<M>]) -> bool {
    replicas.iter().all(|a| {
        replicas
            .iter()
            .filter(|b| b.executed == a.executed)
            .all(|b| a.machine == b.machine && a.sessions == b.sessions)
    })
}

/// S6: nothing is appended twice. (Scripts append distinct entries.)
pub(crate) fn entries_are_distinct<M: Appends>(replicas: &[&ReplicaState<M>]) -> bool {
    replicas.iter().all(|replica| {
        let mut entries = entries(replica.machine.list());
        entries.sort_unstable();
        entries.windows(2).all(|pair| pair[0] != pair[1])
    })
}
