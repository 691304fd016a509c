//! Requests of Redis clients: no bytes make a connection fail, and how they are split makes no difference to what it says.

use parthood::protocols::state_machine::{Batch, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _};
use parthood_resp::{Connection, Context, Cursors, Query, Step};

/// Takes the input for what a client says, once as a whole and once in pieces whose sizes follow from it.
pub fn run(data: &[u8]) {
    let pieces = data.chunks(1 + crc32fast::hash(data) as usize % 40);
    assert_eq!(said(std::iter::once(data)), said(pieces), "what is said depends on how the bytes are split");
}

/// What a server without sockets says to these bytes.
fn said<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut store, mut cursors, mut out) = (KeyValue::default(), Cursors::new(5), vec![]);
    let mut connection = Connection::new(1, false);
    for piece in pieces {
        connection.feed(piece);
        loop {
            let (is_password, reads) = (None, &["log"][..]);
            let mut context = Context { is_password, reads, cursors: &mut cursors, info: &String::new };
            let Some(step) = connection.step(&mut context) else { break };
            let reply = match step {
                Step::Reply(reply) | Step::End(reply) => reply,
                Step::Ask(query) => {
                    let batch: Batch = query.commands().iter().cloned().collect();
                    match store.apply(&KeyValueCommand::Batch(batch)) {
                        KeyValueOutput::Batch(outputs) => query.reply(outputs.outputs(), &mut cursors),
                        KeyValueOutput::OutputTooLarge => Query::too_large_to_tell(),
                        other => panic!("a question was too large to be asked: {other:?}"),
                    }
                }
            };
            reply.write(connection.protocol(), &mut out);
        }
    }
    out
}

/// Conversations as they are, some of them with mistakes.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
        "SET a 1 NX GET\r\nINCRBY a -2\r\nAPPEND a x\r\nMGET a b\r\nDEL a b\r\n",
        "MULTI\r\nMSET a 1 b 2\r\nSCAN 0 MATCH [^a]* COUNT 1\r\nEXEC\r\nKEYS *\r\n",
        "HELLO 3 SETNAME x\r\nCONFIG GET *\r\nCOMMAND DOCS get\r\nINFO\r\nQUIT\r\n",
        "set 'a b' \"\\x41\\n\"\r\nCAS 'a b' A 7\r\nPARTHOOD READS log\r\n*1\r\n$x\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
