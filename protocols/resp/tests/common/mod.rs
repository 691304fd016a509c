//! A server without sockets: one store, asked at once.

use parthood_protocols::state_machine::{
    Batch, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _,
};
use parthood_resp::{Connection, Context, Cursors, Query, Step};

pub(crate) struct Server {
    pub(crate) store: KeyValue,
    cursors: Cursors,
    password: Option<&'static str>,
}

impl Server {
    pub(crate) fn new(password: Option<&'static str>) -> Self {
        Self { store: KeyValue::default(), cursors: Cursors::new(12), password }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::new(1, self.password.is_some())
    }

    /// Feeds bytes to a connection and returns what it replies; true if it ends then.
    pub(crate) fn talk(&mut self, connection: &mut Connection, bytes: &[u8]) -> (Vec<u8>, bool) {
        connection.feed(bytes);
        let (mut out, mut has_ended) = (vec![], false);
        let password = self.password;
        let is_password = move |said: &[u8]| password.is_some_and(|password| password.as_bytes() == said);
        loop {
            let mut context = Context {
                is_password: password.is_some().then_some(&is_password),
                reads: &["linearizable", "sequential"],
                cursors: &mut self.cursors,
                info: &String::new,
            };
            let Some(step) = connection.step(&mut context) else { return (out, has_ended) };
            let reply = match step {
                Step::Reply(reply) => reply,
                Step::Ask(query) => {
                    let batch: Batch = query.commands().iter().cloned().collect();
                    match self.store.apply(&KeyValueCommand::Batch(batch)) {
                        KeyValueOutput::Batch(outputs) => query.reply(outputs.outputs(), &mut self.cursors),
                        KeyValueOutput::OutputTooLarge => Query::too_large_to_tell(),
                        other => panic!("a question was too large to be asked: {other:?}"),
                    }
                }
                Step::End(reply) => {
                    has_ended = true;
                    reply
                }
            };
            reply.write(connection.protocol(), &mut out);
        }
    }
}

/// A request on the wire.
pub(crate) fn wire(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}
