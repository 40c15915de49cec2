//! The audit log: who did what, with what outcome, as a line of JSON each.
//!
//! What must stay true: changes and refusals are all written, in the order in which they ended,
//! before the server has ended; the file is opened for each group of lines, so that it can be moved
//! away at any time. Writing happens on a thread of its own; when that falls behind, requests wait.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 1024;

/// The audit log of a running server.
#[derive(Debug)]
pub(crate) struct Audit {
    lines: Option<mpsc::Sender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Appends to the file at `path`, which is made if it is not there.
    pub(crate) fn open(path: PathBuf) -> std::io::Result<Self> {
        append(&path, &[])?;
        let (lines, queue) = mpsc::channel(QUEUE_LINES);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(&path, queue))?;
        Ok(Self {
            lines: Some(lines),
            thread: Some(thread),
        })
    }

    /// Has `line` written.
    pub(crate) async fn note(&self, line: &serde_json::Value) {
        let mut text = line.to_string().into_bytes();
        text.push(b'\n');
        if let Some(lines) = &self.lines {
            // It fails only where the thread has ended, which it does with this value.
            let _ = lines.send(text).await;
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(path: &Path, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut lines) = queue.blocking_recv() {
        while let Ok(more) = queue.try_recv() {
            lines.extend(more);
        }
        if let Err(error) = append(path, &lines) {
            let path = path.display();
            tracing::error!(%error, %path, "lines of the audit log could not be written");
        }
    }
}

fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_is_there_once_the_log_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(path.clone()).unwrap();
        for number in 0..3_000 {
            audit.note(&serde_json::json!({ "n": number })).await;
            if number == 1_500 {
                let _ = std::fs::rename(&path, folder.path().join("moved"));
            }
        }
        drop(audit);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let text = read("moved") + &read("audit.jsonl");
        let numbers = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["n"].as_u64().unwrap()
        });
        assert!(numbers.eq(0..3_000));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_at_the_start() {
        Audit::open("no/such/folder/audit.jsonl".into()).unwrap_err();
    }
}
