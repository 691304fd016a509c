//! Questions to the store, and how its answers are told.

use crate::cursors::Cursors;
use crate::reply::Reply;
use parthood_protocols::state_machine::{
    BatchedCommand, BatchedOutput, Bytes, MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, MAX_KEY_BYTES,
    MAX_OUTPUT_BYTES, MAX_PAGE_COUNT, MAX_VALUE_BYTES,
};

/// What a batch costs besides its commands.
const BATCH_BYTES: usize = 8;

/// Commands that must be done at one moment, and how their outputs are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    commands: Vec<BatchedCommand>,
    bytes: usize,
    render: Render,
}

/// How the outputs of a query become a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Render {
    /// That all was done.
    Ok,
    /// That it was done, or nothing.
    OkOrNull,
    /// 1 if it was done, 0 if not.
    WasDone,
    /// A value, or nothing.
    Value,
    /// Several of them.
    Values,
    /// A number.
    Number,
    /// How many keys were there.
    Sum,
    /// What a key holds.
    Type,
    /// How long a key lives.
    Lifetime,
    /// A cursor and keys.
    Page,
    /// Keys, which must be all that there are.
    Keys,
    /// Nothing of the store.
    Fixed(Reply),
    /// Several replies, each of so many outputs.
    Each(Vec<(usize, Render)>),
}

impl Query {
    /// A question.
    ///
    /// # Errors
    /// When it is larger than what the store takes.
    pub(crate) fn new(commands: Vec<BatchedCommand>, render: Render) -> Result<Self, Reply> {
        if commands.iter().any(BatchedCommand::is_too_large) {
            return Err(too_large());
        }
        let bytes = commands.iter().map(BatchedCommand::bytes).sum();
        if bytes + BATCH_BYTES > MAX_BATCH_BYTES || commands.len() > MAX_BATCH_COMMANDS {
            return Err(Reply::error(format!(
                "what is done at one moment may have {MAX_BATCH_BYTES} bytes and {MAX_BATCH_COMMANDS} parts: nothing was done"
            )));
        }
        Ok(Self { commands, bytes, render })
    }

    pub(crate) fn one(command: BatchedCommand, render: Render) -> Result<Self, Reply> {
        Self::new(vec![command], render)
    }

    /// Several questions at one moment, with one reply.
    pub(crate) fn together(queries: Vec<Self>) -> Result<Self, Reply> {
        let renders = queries.iter().map(|query| (query.commands.len(), query.render.clone())).collect();
        let commands = queries.into_iter().flat_map(|query| query.commands).collect();
        Self::new(commands, Render::Each(renders))
    }

    /// A reply that asks nothing.
    pub(crate) fn fixed(reply: Reply) -> Self {
        Self { commands: vec![], bytes: 0, render: Render::Fixed(reply) }
    }

    /// The commands.
    pub fn commands(&self) -> &[BatchedCommand] {
        &self.commands
    }

    /// The bytes of its commands.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Do queries of so many commands and bytes in all fit one batch?
    pub fn fit(commands: usize, bytes: usize) -> bool {
        commands <= MAX_BATCH_COMMANDS && bytes + BATCH_BYTES <= MAX_BATCH_BYTES
    }

    /// The reply to these outputs, one of each command.
    pub fn reply(&self, outputs: &[BatchedOutput], cursors: &mut Cursors) -> Reply {
        self.render.reply(outputs, cursors)
    }

    /// The reply if all outputs of the query are larger than what the store tells at once.
    pub fn too_large_to_tell() -> Reply {
        Reply::error(format!(
            "the answer would exceed {MAX_OUTPUT_BYTES} bytes: ask for less at once; nothing was done"
        ))
    }
}

fn too_large() -> Reply {
    Reply::error(format!(
        "a key may have {MAX_KEY_BYTES} bytes and a value {MAX_VALUE_BYTES}: nothing was done"
    ))
}

impl Render {
    fn reply(&self, outputs: &[BatchedOutput], cursors: &mut Cursors) -> Reply {
        if let Self::Fixed(reply) = self {
            return reply.clone();
        }
        if let Self::Each(parts) = self {
            let mut rest = outputs;
            let mut next = |(count, render): &(usize, Self)| {
                let (own, behind) = rest.split_at((*count).min(rest.len()));
                rest = behind;
                render.reply(own, cursors)
            };
            return Reply::Array(parts.iter().map(&mut next).collect());
        }
        if let Some(refusal) = outputs.iter().find_map(refusal) {
            return refusal;
        }
        match (self, outputs) {
            (Self::Values, _) => Reply::Array(outputs.iter().map(value).collect()),
            (Self::Sum, _) => {
                let there = |output: &&BatchedOutput| {
                    matches!(output, BatchedOutput::Deleted(true) | BatchedOutput::Exists(true))
                };
                number(outputs.iter().filter(there).count())
            }
            (Self::Ok, _) | (Self::OkOrNull, [BatchedOutput::Done]) => Reply::OK,
            (Self::OkOrNull, _) => Reply::Null,
            (Self::WasDone, [output]) => {
                Reply::Integer(i64::from(matches!(output, BatchedOutput::Done | BatchedOutput::Swapped)))
            }
            (Self::Value, [output]) => value(output),
            (Self::Number, [BatchedOutput::Number(number)]) => Reply::Integer(*number),
            (Self::Type, [BatchedOutput::Exists(true)]) => Reply::Simple("string"),
            (Self::Type, _) => Reply::Simple("none"),
            (Self::Lifetime, [BatchedOutput::Exists(true)]) => Reply::Integer(-1),
            (Self::Lifetime, _) => Reply::Integer(-2),
            (Self::Page, [BatchedOutput::Page { keys, next }]) => {
                let cursor = next.clone().map_or(0, |key| cursors.remember(key));
                Reply::Array(vec![Reply::text(cursor.to_string()), list(keys)])
            }
            (Self::Keys, [BatchedOutput::Page { keys, next: None }]) => list(keys),
            (Self::Keys, [BatchedOutput::Page { .. }]) => Reply::error(format!(
                "KEYS looks at {MAX_PAGE_COUNT} keys and tells {MAX_OUTPUT_BYTES} bytes at most, and there is more: use SCAN"
            )),
            (_, outputs) => Reply::error(format!("the store gave an unexpected answer: {outputs:?}")),
        }
    }
}

/// What is told where nothing was done.
fn refusal(output: &BatchedOutput) -> Option<Reply> {
    Some(match output {
        BatchedOutput::NotANumber => Reply::error("value is not an integer or out of range"),
        BatchedOutput::Overflow => Reply::error("increment or decrement would overflow"),
        // Only what grows is too large for the store alone: the rest is refused before it is asked.
        BatchedOutput::TooLarge => Reply::error("string exceeds maximum allowed size (proto-max-bulk-len)"),
        _ => return None,
    })
}

fn value(output: &BatchedOutput) -> Reply {
    match output {
        BatchedOutput::Value(Some(value)) => Reply::text(value.as_slice()),
        _ => Reply::Null,
    }
}

fn list(keys: &[Bytes]) -> Reply {
    Reply::Array(keys.iter().map(|key| Reply::text(key.as_slice())).collect())
}

fn number(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
