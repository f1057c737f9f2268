//! What a long command is doing, on stderr, once it takes longer than a second and only on a terminal.

use super::failure::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A piece of work that may take long. Nothing is shown within the first second; dropping it clears the line.
pub struct Progress {
    bar: ProgressBar,
    /// Closing it ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

const QUIET: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);

impl Progress {
    /// Work without a known length.
    pub fn spinner(what: &str) -> Progress {
        Progress::start(ProgressBar::new_spinner(), what, "{spinner} {msg} {elapsed}")
    }

    /// Work of `length` steps; see [`advance`](Self::advance).
    pub fn bar(what: &str, length: u64) -> Progress {
        Progress::start(ProgressBar::new(length), what, "{msg} [{bar:40}] {percent}% {eta}")
    }

    fn start(bar: ProgressBar, what: &str, template: &str) -> Progress {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        bar.set_message(what.to_owned());
        if !std::io::stderr().is_terminal() {
            return Progress { bar, stop: None, thread: None };
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        let (stop, stopped) = mpsc::channel::<()>();
        let shown = bar.clone();
        let thread = std::thread::spawn(move || {
            if stopped.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            shown.set_draw_target(ProgressDrawTarget::stderr());
            while stopped.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                shown.tick();
            }
        });
        Progress { bar, stop: Some(stop), thread: Some(thread) }
    }

    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Says what is being done now.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Writes a line that stays.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only waits and draws; a panic in there is no reason to fail.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
