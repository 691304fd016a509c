//! Clients of models that replicate a state machine.

use parthood_protocols::client::Client;
use parthood_protocols::state_machine::AppendLogCommand;
use serde::Deserialize;
use stateright::actor::Id;
use std::time::Duration;

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParams {
    /// What it asks, one after the other.
    pub script: Vec<AppendLogCommand>,
    /// The server it asks first.
    #[serde(default)]
    pub first: usize,
    /// How often it may ask again, each time the next server.
    #[serde(default)]
    pub retries: u32,
    /// Whether it must open a session first.
    #[serde(default)]
    pub opens_session: bool,
}

/// The clients of so many servers, whose ids they follow.
///
/// # Errors
/// When there is none, or one asks a server that there is not.
pub(crate) fn clients(
    params: &[ClientParams],
    servers: usize,
) -> Result<Vec<Client<AppendLogCommand>>, String> {
    if servers == 0 || params.is_empty() {
        return Err("at least one server and one client are needed".into());
    }
    if let Some(wrong) = params.iter().map(|client| client.first).find(|first| *first >= servers) {
        return Err(format!("there is no server {wrong}; there are {servers}"));
    }
    let client = |params: &ClientParams| Client {
        contacts: (0..servers).map(Id::from).collect(),
        first_contact: params.first,
        script: params.script.clone(),
        lanes: 1,
        known: !params.opens_session,
        application: None,
        retries_max: params.retries,
        // Only the simulator has a clock that this matters to.
        retry_after: Duration::from_millis(100)..Duration::from_millis(200),
    };
    Ok(params.iter().map(client).collect())
}

/// The clients whose sessions the servers know from the start.
pub(crate) fn known(params: &[ClientParams], servers: usize) -> Vec<u64> {
    let ids = (servers as u64..).zip(params);
    ids.filter(|(_, client)| !client.opens_session).map(|(id, _)| id).collect()
}
