//! Asks a node something that its application answers, from outside of the cluster, and takes nothing from anybody else.
//!
//! Question and answer are bytes that this package does not understand. They travel as those on how nodes stand do.

use super::AddressBook;
use super::standing::Control;
use super::survey::{Asker, Heard};
use crate::Error;
use crate::wire::{Keys, MAX_MESSAGE_LEN};
use stateright::actor::Id;
use std::time::{Duration, Instant};

/// The most bytes of a question or an answer.
pub const MAX_INQUIRY_LEN: usize = MAX_MESSAGE_LEN - 32;
/// When a question is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Asks nodes, one question at a time.
#[derive(Debug)]
pub struct Inquirer(Asker);

impl Inquirer {
    /// Asks nodes of this cluster.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub fn new(cluster: u64, keys: &Keys, book: &AddressBook) -> Result<Self, Error> {
        Asker::new(cluster, keys.seal(), book).map(Self)
    }

    /// Asks a node, and again until it answers; none if `patience` ends before.
    ///
    /// # Errors
    /// When the socket fails, or the question is too long.
    pub fn ask(&mut self, node: Id, question: &[u8], patience: Duration) -> Result<Option<Vec<u8>>, Error> {
        if question.len() > MAX_INQUIRY_LEN {
            return Err(Error::Setup(format!("a question of {} bytes is too long", question.len())));
        }
        let Some(address) = self.0.address(node) else {
            return Err(Error::Setup(format!("node {node:?} is not in the address book")));
        };
        let number = self.0.next_number();
        let question =
            Control::Inquire { number, node: usize::from(node) as u64, question: question.to_vec() };
        let (begun, mut asked) = (Instant::now(), None::<Instant>);
        loop {
            let now = Instant::now();
            let left = patience.saturating_sub(now.duration_since(begun));
            if left.is_zero() {
                return Ok(None);
            }
            if asked.is_none_or(|asked| now.duration_since(asked) >= AGAIN) {
                self.0.send(address, &question)?;
                asked = Some(now);
            }
            let mut answer = None;
            let take = |src: Id, control: Heard| match control {
                Heard::Answered(answer) if src == node => Some(answer),
                _ => None,
            };
            // What is refused is as good as lost: the question is asked again.
            let _ = self.0.receive(left.min(AGAIN), |src, heard| {
                let taken = take(src, heard);
                answer = answer.take().or(taken);
            })?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
    }
}
