//! Calls that are futures. The client's own thread wakes them, so any executor will do.

use super::attended::{Call, Deadline};
use super::{Answer, Batched, ClientError, KvClient, Ticket, bytes, outputs, stopped};
use parthood_protocols::state_machine::{BatchedOutput, KeyValueCommand};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Where the answer is put, and who is woken then.
#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
    is_taken: bool,
}

/// A command that is under way. It is sent when it is made, not when it is polled first. One that is dropped before it is sent
/// is not sent; one that is dropped later takes effect all the same.
#[derive(Debug)]
#[must_use = "the answer says whether the command took effect"]
pub struct Answering {
    slot: Arc<Mutex<Slot>>,
    ticket: Ticket,
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts an answer where the future looks for it.
fn tell(slot: &Mutex<Slot>, answer: Answer) {
    let waker = {
        let mut slot = lock(slot);
        slot.answer = Some(answer);
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Answering {
    /// A future, and the call that it waits for.
    fn new(command: KeyValueCommand, deadline: Deadline) -> (Self, Call) {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let told = slot.clone();
        let (call, ticket) = Call::new(command, deadline, move |answer| tell(&told, answer));
        (Self { slot, ticket }, call)
    }
}

impl Future for Answering {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut slot = lock(&self.slot);
        if let Some(answer) = slot.answer.take() {
            slot.is_taken = true;
            return Poll::Ready(answer);
        }
        if slot.is_taken {
            return Poll::Ready(Err(stopped()));
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ticket.withdraw();
    }
}

/// A [`KvClient`] whose calls are futures. They end after the client's timeout, a little late at most.
#[derive(Clone, Copy, Debug)]
pub struct Asynchronous<'a>(&'a KvClient);

impl<'a> Asynchronous<'a> {
    pub(super) fn new(client: &'a KvClient) -> Self {
        Self(client)
    }

    /// Sends a command. The future borrows nothing.
    pub fn submit(&self, command: KeyValueCommand) -> Answering {
        let timeout = self.0.timeout;
        let deadline = Instant::now().checked_add(timeout).map(|until| (until, timeout));
        let (answering, call) = Answering::new(command, deadline);
        self.0.call(call);
        answering
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// As [`KvClient::execute`].
    pub async fn execute(&self, command: KeyValueCommand) -> Answer {
        for _ in 0..self.0.retries {
            match self.submit(command.clone()).await {
                Err(error) if error.may_be_retried(&command) => {}
                answer => return answer,
            }
        }
        self.submit(command).await
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`KvClient::put`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), ClientError> {
        outputs::done(self.execute(outputs::put(key, value)).await?)
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// As [`KvClient::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, ClientError> {
        outputs::value(self.execute(KeyValueCommand::Get(bytes(key))).await?)
    }

    /// Removes a key; true if it existed.
    ///
    /// # Errors
    /// As [`KvClient::delete`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, ClientError> {
        outputs::deleted(self.execute(KeyValueCommand::Delete(bytes(key))).await?)
    }

    /// Sets a key if it holds `expected` (none: if it has no value); otherwise tells what it holds.
    ///
    /// # Errors
    /// As [`KvClient::compare_and_swap`].
    pub async fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: impl AsRef<[u8]>,
    ) -> Result<Result<(), Option<Vec<u8>>>, ClientError> {
        outputs::swapped(self.execute(outputs::compare_and_swap(key, expected, new)).await?)
    }

    /// Adds to the number that a key holds and returns the sum.
    ///
    /// # Errors
    /// As [`KvClient::increment`].
    pub async fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64, ClientError> {
        outputs::number(self.execute(KeyValueCommand::Increment(bytes(key), by)).await?)
    }

    /// Does all of these, one after the other with nothing between, and returns what came of each.
    ///
    /// # Errors
    /// As [`KvClient::batch`].
    pub async fn batch(&self, batch: Batched) -> Result<Vec<BatchedOutput>, ClientError> {
        outputs::batch(self.execute(batch.into_command()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parthood_protocols::state_machine::KeyValueOutput;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_answer_wakes_whoever_polled_last_and_is_given_once() {
        let (mut answering, call) = Answering::new(KeyValueCommand::Count, None);
        let [first, last] = [(); 2].map(|()| Arc::new(Woken::default()));
        for woken in [&first, &last] {
            let waker = Waker::from(woken.clone());
            let polled = Pin::new(&mut answering).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        call.tell(Ok(KeyValueOutput::Done));
        assert_eq!([&first, &last].map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1]);
        let mut poll = || Pin::new(&mut answering).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll(), Poll::Ready(Ok(KeyValueOutput::Done)));
        assert!(matches!(poll(), Poll::Ready(Err(ClientError::Stopped(_)))));
    }

    #[test]
    fn a_client_that_is_gone_is_told_and_a_dropped_future_is_not_sent() {
        let (mut answering, call) = Answering::new(KeyValueCommand::Count, None);
        drop(call);
        let polled = Pin::new(&mut answering).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(ClientError::Stopped(_)))));
        let (answering, call) = Answering::new(KeyValueCommand::Count, None);
        drop(answering);
        assert!(!call.begins());
    }
}
