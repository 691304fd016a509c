//! How a reconstruction comes along, on stderr; and what this machine has.

use super::words::{bytes, duration};
use indicatif::{ProgressBar, ProgressStyle};
use parthood_tomography::solve::Progress;
use parthood_tomography::wave::Misfit;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Without a terminal a line is written at most this often.
const QUIET: Duration = Duration::from_secs(10);

/// Whether it was said that pixels are too coarse: once is enough, however many blocks there are.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Tells of iterations: loss, rate and the time that is left.
pub(super) struct Meter {
    bar: ProgressBar,
    is_terminal: bool,
    what: String,
    iterations: usize,
    /// When the first iteration of this run began, and its number.
    first: Option<(Instant, usize)>,
    told: Instant,
    /// Of the last iteration.
    pub(super) loss: Option<f64>,
}

impl Meter {
    pub(super) fn new(what: String, iterations: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new(iterations as u64) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self { bar, is_terminal, what, iterations, first: None, told: Instant::now(), loss: None }
    }

    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        let Progress { iteration, loss, energy_outside } = progress;
        self.loss = Some(loss);
        if energy_outside > Misfit::ALIASED && !WARNED.swap(true, Ordering::Relaxed) {
            self.bar.suspend(|| {
                eprintln!(
                    "parthood: warning: {energy_outside:.1e} of a wave's energy lies beyond 2/3 of the pixels' Nyquist \
                     frequency, where more than {:.0e} makes images wrong: take smaller pixels",
                    Misfit::ALIASED
                );
            });
        }
        let now = Instant::now();
        let (since, first) = *self.first.get_or_insert((now, iteration));
        let each = (now - since).as_secs_f64() / (iteration - first).max(1) as f64;
        let mut text =
            format!("{}iteration {} of {}, loss {loss:.5e}", self.what, iteration + 1, self.iterations);
        if iteration > first {
            let left = each * (self.iterations - iteration) as f64;
            text = format!("{text}, {} each, {} left", duration(each), duration(left));
        } else if first > 0 {
            text.push_str(", going on after an interruption");
        }
        self.bar.set_position(iteration as u64);
        self.bar.set_message(text.clone());
        if !self.is_terminal && now - self.told >= QUIET {
            self.told = now;
            eprintln!("{text}");
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line `key: N kB` of a file of the system.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
}

/// The memory that is free, where the system tells.
pub(super) fn free_memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable").map(|kilobytes| kilobytes << 10)
}

/// The most memory that this process has had, where the system tells.
pub(super) fn peak_memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM").map(|kilobytes| kilobytes << 10)
}

/// The same in words.
pub(super) fn peak_in_words() -> String {
    peak_memory().map_or_else(String::new, |peak| format!(", at most {} of memory", bytes(peak)))
}
