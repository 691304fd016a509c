//! A key that is read again and again.

use super::{ClientError, KvClient};
use parthood_protocols::state_machine::Bytes;
use std::time::{Duration, Instant};

/// The values of a key, as [`KvClient::watch_by_polling`] finds them. It never ends; after an error it goes on.
#[derive(Debug)]
pub struct Polled<'a> {
    client: &'a KvClient,
    key: Bytes,
    every: Duration,
    last: Last,
    /// When it was read last.
    read: Option<Instant>,
}

/// What was told last.
#[derive(Debug)]
enum Last {
    Nothing,
    Value(Option<Vec<u8>>),
}

impl<'a> Polled<'a> {
    pub(super) fn new(client: &'a KvClient, key: Bytes, every: Duration) -> Self {
        Self { client, key, every, last: Last::Nothing, read: None }
    }
}

impl Iterator for Polled<'_> {
    type Item = Result<Option<Vec<u8>>, ClientError>;

    /// Waits for the next change.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(read) = self.read {
                std::thread::sleep(self.every.saturating_sub(read.elapsed()));
            }
            self.read = Some(Instant::now());
            match self.client.get(self.key.as_slice()) {
                Err(error) => return Some(Err(error)),
                Ok(value) if matches!(&self.last, Last::Value(last) if *last == value) => {}
                Ok(value) => {
                    self.last = Last::Value(value.clone());
                    return Some(Ok(value));
                }
            }
        }
    }
}
