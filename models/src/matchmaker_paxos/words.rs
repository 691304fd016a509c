//! States and messages in words.

use parthood_protocols::matchmaker_paxos::{
    AcceptorState, Carried, Garbage, Msg, Phase, ProposerState, State, Vote,
};
use parthood_protocols::matchmaking::{Matched, MatchmakerState, Round};
use parthood_protocols::state_machine::Data;
use std::fmt::Write;

pub(super) fn state<V: Data>(state: &State<V>) -> String {
    match state {
        State::Proposer(state) => proposer(state),
        State::Matchmaker(MatchmakerState { log, watermark, .. }) => {
            let log: Vec<Matched> = log.iter().map(|(round, noted)| (*round, noted.clone())).collect();
            format!("noted {}{}", configurations(&log), above(*watermark))
        }
        State::Acceptor(AcceptorState { round, vote, persisted }) => {
            let persisted = if *persisted { ", knows that a value is persisted" } else { "" };
            format!("promised {round:?}, {}{persisted}", described(vote.as_ref()))
        }
        State::Replica(None) => "keeps nothing".into(),
        State::Replica(Some(value)) => format!("keeps v{value:?}"),
        State::Client(client) => match (&client.asked, &client.chosen) {
            (_, Some(chosen)) => format!("told that v{chosen:?} is chosen"),
            (Some(asked), None) => format!("asked for v{asked:?}"),
            (None, None) => "asked for nothing yet".into(),
        },
        State::Operator => "has asked for a reconfiguration".into(),
    }
}

fn proposer<V: Data>(state: &ProposerState<V>) -> String {
    let round = state.used.unwrap_or_default();
    let mut text = match &state.phase {
        Phase::Idle if state.used.is_none() => "idle".to_owned(),
        Phase::Idle => format!("idle since a restart, will not use {round:?} again"),
        Phase::Matching { answers, carried } => {
            let carried = match carried {
                Carried::Nothing => String::new(),
                Carried::Freedom => ", free all the same".into(),
                Carried::Proposal(value) => format!(", takes v{value:?} along"),
            };
            format!(
                "matching {round:?}: answers of {:?}: {}{}{carried}",
                answers.replied,
                configurations(&answers.earlier),
                above(answers.watermark)
            )
        }
        Phase::Phase1 { earlier, promised, best } => format!(
            "phase 1 of {round:?}: asks {}, promises of {promised:?}, best report: {}",
            configurations(earlier),
            described(best.as_ref())
        ),
        Phase::Free => format!("free in {round:?}"),
        Phase::Phase2 { value, voted } => {
            format!("phase 2 of {round:?}: proposed v{value:?}, votes of {voted:?}")
        }
        Phase::Fetching => format!("asks in {round:?} which value is chosen"),
        Phase::Storing { value, stored } => format!("knows that v{value:?} is chosen, stored by {stored:?}"),
        Phase::Persisting { value, noted } => {
            format!("knows that v{value:?} is chosen and stored, noted by {noted:?}")
        }
        Phase::Done(value) => format!("knows that v{value:?} is chosen"),
    };
    // Writing to a string cannot fail.
    let _ = match state.garbage {
        Garbage::Idle => Ok(()),
        Garbage::Asked(confirmed) => write!(text, "; collects, confirmed by {confirmed:?}"),
        Garbage::Done => write!(text, "; all below {round:?} is retired"),
    };
    if let Some(heard) = state.heard.filter(|heard| *heard > round) {
        let _ = write!(text, ", heard of {heard:?}");
    }
    text
}

fn above(watermark: Round) -> String {
    if watermark == Round::ZERO { String::new() } else { format!(", nothing below {watermark:?}") }
}

fn configurations(matched: &[Matched]) -> String {
    let each: Vec<String> =
        matched.iter().map(|(round, configuration)| format!("{round:?} {configuration:?}")).collect();
    if each.is_empty() { "no configuration".into() } else { each.join(", ") }
}

fn described<V: Data>(vote: Option<&Vote<V>>) -> String {
    vote.map_or("no vote".into(), |vote| format!("voted v{:?} in {:?}", vote.vote_value, vote.vote_round))
}

pub(super) fn msg<V: Data>(msg: &Msg<V>) -> String {
    match msg {
        Msg::Propose(value) => format!("Propose v{value:?}"),
        Msg::Chosen(value) => format!("Chosen v{value:?}"),
        Msg::Invoke(value) => format!("Invoke v{value:?}"),
        Msg::Reconfigure => "Reconfigure".into(),
        Msg::MatchA { round, configuration } => format!("MatchA {round:?} {configuration:?}"),
        Msg::MatchB { round, watermark, earlier } => {
            format!("MatchB {round:?}: {}{}", configurations(earlier), above(*watermark))
        }
        Msg::Phase1a { round } => format!("Phase1a {round:?}"),
        Msg::Phase1b { round, vote, persisted } => {
            let persisted = if *persisted { ", persisted" } else { "" };
            format!("Phase1b {round:?}, {}{persisted}", described(vote.as_ref()))
        }
        Msg::Phase2a { round, value } => format!("Phase2a {round:?} v{value:?}"),
        Msg::Phase2b { round, persisted: false } => format!("Phase2b {round:?}"),
        Msg::Phase2b { round, persisted: true } => format!("Phase2b {round:?}, persisted"),
        Msg::Nack { round } => format!("Nack {round:?}"),
        Msg::Store(value) => format!("Store v{value:?}"),
        Msg::Stored => "Stored".into(),
        Msg::Fetch => "Fetch".into(),
        Msg::Fetched(value) => format!("Fetched v{value:?}"),
        Msg::Persisted { round } => format!("Persisted {round:?}"),
        Msg::PersistedAck { round } => format!("PersistedAck {round:?}"),
        Msg::GarbageA { round } => format!("GarbageA {round:?}"),
        Msg::GarbageB { watermark } => format!("GarbageB {watermark:?}"),
    }
}
