//! The Redis protocol in front of a replicated key-value store.
//!
//! Bytes become requests ([`Parser`]), a request becomes an answer or a question to the store ([`Connection`], [`Query`]), and
//! what the store says becomes a reply in RESP2 or RESP3 ([`Reply`]). Nothing here reads a socket, a clock or a file; who
//! does feeds bytes in, asks the store and sends the bytes that come out.
//!
//! **Order.** Requests of one connection take effect in the order in which they came. A query never spans two batches of the
//! store, so that `MSET` and `EXEC` happen at one moment; several queries may share one.
//!
//! **Words.** Errors are those of Redis 7.0, letter for letter, where Redis has the case. Where the store cannot do what Redis
//! does (keys that expire, `WATCH`) the error says so: nothing is done by halves.

mod command;
mod connection;
mod cursors;
mod query;
mod reply;
mod request;
mod server;
mod table;

pub use connection::{Connection, Context, IsPassword, Step};
pub use cursors::Cursors;
pub use query::{Query, Render};
pub use reply::{Protocol, Reply};
pub use request::{Limits, Parser, ProtocolError, Request};
