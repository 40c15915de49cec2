//! Progress of a long command: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::console::{grouped, note, size};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a command is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    records: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts to show `what`; `total` is the length of the way, in whatever unit [`Self::at`] gets.
    pub(crate) fn start(what: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:36}] {percent:>3}% {msg} ({eta} left)",
            );
            bar.set_style(style.expect("the template is right").progress_chars("=> "));
            bar.set_prefix(what.to_owned());
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            total,
            records: 0,
            started: now,
            last_line: now,
        }
    }

    /// Starts to show `what`, whose way is bytes of which only [`Self::at_bytes`] tells how many.
    pub(crate) fn start_of_bytes(what: &str) -> Self {
        Self::start(what, 0)
    }

    /// Shows that the command has done `bytes` of `total`, which may grow.
    pub(crate) fn at_bytes(&mut self, bytes: u64, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_message(size(bytes));
            bar.set_position(bytes.min(total));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            note(&format!(
                "{}: {} of {}",
                self.what,
                size(bytes),
                size(total)
            ));
        }
    }

    /// Shows that the command is at `position` of the way and has passed `records` records.
    pub(crate) fn at(&mut self, position: u64, records: u64) {
        self.records = records;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} records", grouped(records)));
            bar.set_position(position.min(self.total));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            // Where the end is not known, only what is done is told.
            let percent = position.min(self.total) * 100;
            let percent = percent.checked_div(self.total);
            let share = percent.map_or_else(String::new, |percent| format!("{percent} %, "));
            note(&format!(
                "{}: {share}{} records",
                self.what,
                grouped(records)
            ));
        }
    }

    /// Ends, with how long it took.
    pub(crate) fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}
