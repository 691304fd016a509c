//! Writes a trace: an observer that turns each step into a line.

use super::{CauseRecord, Header, LINE_BYTES_MAX, Line, Output, StepRecord, VERSION, micros};
use crate::{Cause, Error, Notice, Observer, Runnable, Step, Wants};
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// Lines are handed on when there are this many bytes of them, or at a commit.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes a trace as a run goes on.
///
/// An observer cannot fail, so the first error is kept, nothing is written after it, and [`TraceWriter::finish`]
/// returns it; [`TraceWriter::error`] tells at any time.
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    out: W,
    buffer: Vec<u8>,
    lines: u64,
    steps: u64,
    error: Option<Error>,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace. The header's version is set to [`VERSION`].
    ///
    /// # Errors
    ///
    /// If the header cannot be written.
    pub fn new(out: W, mut header: Header) -> Result<Self, Error> {
        header.version = VERSION;
        let mut writer = Self { out, buffer: Vec::new(), lines: 0, steps: 0, error: None };
        writer.line(&Line::<()>::Header(header));
        writer.hand_on();
        writer.error.take().map_or(Ok(writer), Err)
    }

    /// Why nothing is written any more, if so.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Steps recorded so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Ends the trace and returns what it was written to.
    ///
    /// # Errors
    ///
    /// The first error since the trace began.
    pub fn finish(mut self) -> Result<W, Error> {
        let steps = self.steps;
        self.line(&Line::<()>::End { steps });
        self.hand_on();
        match self.error {
            None => Ok(self.out),
            Some(error) => Err(error),
        }
    }

    fn line<L: Serialize>(&mut self, line: &Line<L>) {
        if self.error.is_some() {
            return;
        }
        let start = self.buffer.len();
        let encoded = serde_json::to_writer(&mut self.buffer, line);
        self.lines += 1;
        let failed = match encoded {
            Err(error) => Some(Error::TraceEncode { step: self.steps, reason: error.to_string() }),
            Ok(()) if self.buffer.len() - start > LINE_BYTES_MAX => {
                Some(Error::TraceLineTooLong { line: self.lines, limit: LINE_BYTES_MAX })
            }
            Ok(()) => None,
        };
        if failed.is_some() {
            self.buffer.truncate(start);
            self.hand_on();
            // A failure to hand on is the older trouble.
            self.error = self.error.take().or(failed);
            return;
        }
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES {
            self.hand_on();
        }
    }

    /// Gives what is buffered to the operating system.
    fn hand_on(&mut self) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = self.out.write_all(&self.buffer).and_then(|()| self.out.flush()) {
            self.error = Some(Error::TraceWrite(error));
        }
        self.buffer.clear();
    }
}

impl<A: Runnable, W: Write> Observer<A> for TraceWriter<W> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        let cause = match step.cause {
            Cause::Start(None) => CauseRecord::Start,
            Cause::Start(Some(storage)) => CauseRecord::Recover(storage),
            Cause::Deliver { src, msg } => CauseRecord::Deliver { src, msg },
            Cause::Timeout(timer) => CauseRecord::Timeout(timer),
            Cause::Random(random) => CauseRecord::Random(random),
        };
        let out = step.out.iter().map(Output::of).collect();
        self.steps += 1;
        self.line(&Line::Step(StepRecord { at_us: micros(step.at), id: step.id, cause, out }));
    }

    fn on_notice(&mut self, at: Duration, notice: &Notice) {
        self.line(&Line::<()>::Notice { at_us: micros(at), notice: *notice });
    }

    fn on_commit(&mut self) {
        self.hand_on();
    }
}
