//! The deployed world: actors on real sockets, real clocks and durable storage.
//!
//! One thread drives all actors of a process. A *turn* waits for datagrams, timers or the application; steps the actors;
//! lets them talk to each other in memory; makes everything they saved durable as one group; and only then lets out what
//! they sent, with all messages for one process in as few datagrams as possible. The one rule that protocols rely on is
//! visible in [`Driver::turn`]: **the log is committed before anything leaves.** Whatever order an actor emits its
//! commands in, a crash may look like loss of messages, never like a forgotten promise.
//!
//! Nothing here repairs the network. A message may be lost, repeated, delayed and reordered, as in the models, and
//! actors retry. What exceeds a limit is dropped and counted, and a message that can never be sent is reported.
//!
//! **Who is who.** Nodes `0..n` are found in an [`AddressBook`]. Clients are not listed anywhere: a process that hosts
//! client actors draws a [`ClientProcess`] at random, and servers remember the address that its latest authenticated
//! datagram came from. A client may be answered by a node that it never turned to, so a process of clients that sends
//! anything greets all nodes now and then, with datagrams that hold no message. Messages between actors and the program around them go through
//! [`LOCAL_APPLICATION`](crate::LOCAL_APPLICATION).
//!
//! **How nodes stand** is asked by the same datagrams: of all nodes from outside ([`survey()`]), or by one process of the others
//! ([`Builder::watch`]). Event loops answer for the actors they host, by what [`Builder::standing`] says of a state. Whatever else an
//! application wants to be asked of a state goes the same way ([`Builder::inquiries`], [`Inquirer`]).

mod arrivals;
mod builder;
mod counters;
mod driver;
mod handle;
mod inquiry;
mod kinds;
mod outgoing;
mod peers;
mod socket;
mod standing;
mod strangers;
mod survey;
#[cfg(test)]
mod tests;
mod timers;
mod watch;

pub use builder::Builder;
pub use counters::Counters;
pub use driver::Driver;
pub use handle::{Faults, Handle, Queues, View};
pub use inquiry::{Inquirer, MAX_INQUIRY_LEN};
pub use kinds::{KindCounters, Kinds};
pub use peers::{AddressBook, ClientProcess};
pub use standing::{Answers, Choice, Quorum, Standing};
pub use survey::{Survey, survey};
pub use watch::Told;
