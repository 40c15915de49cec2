//! Records every operation on a folder in memory, so that the folder can be built again at any
//! point of the trace.
//!
//! What must stay true: an operation is in the trace if and only if it happened, and in the order
//! in which it happened; a file keeps its number through renames.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::rebuild::{Rebuilt, Survival, rebuild};
use crate::Result;
use crate::storage::{Entry, MemoryStorage, Storage, StorageFile};

/// Something put into the trace from outside at its place: an acknowledgement, an image of the
/// catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it is.
    pub label: String,
    /// What goes with it.
    pub bytes: Bytes,
}

/// Tells the files of a trace apart, whatever they are named.
pub(super) type FileNumber = usize;

/// One operation of a trace.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateDir(String),
    Create(FileNumber, String),
    /// The file is written over from its beginning.
    Reuse(FileNumber),
    Write(FileNumber, Bytes),
    Sync(FileNumber),
    Truncate(FileNumber, u64),
    Rename(String, String),
    RemoveFile(String),
    RemoveDir(String),
    SyncDir(String),
    Mark(Mark),
}

/// A folder in memory that keeps the trace of all operations on it. A clone is the same folder.
#[derive(Clone, Debug, Default)]
pub struct RecordingStorage {
    recorder: Arc<Mutex<Recorder>>,
    memory: MemoryStorage,
}

#[derive(Debug, Default)]
struct Recorder {
    steps: Vec<Step>,
    numbers: BTreeMap<String, FileNumber>,
    files: usize,
    base: Vec<(String, Vec<u8>)>,
}

/// The operations of a [`RecordingStorage`] up to some moment.
#[derive(Clone, Debug)]
pub struct Trace {
    base: Arc<Vec<(String, Vec<u8>)>>,
    steps: Arc<Vec<Step>>,
}

impl RecordingStorage {
    /// A recording that starts from what is in `base` now, all of it durable: for a crash after
    /// a crash.
    pub fn starting_from(base: &MemoryStorage) -> Result<Self> {
        let recording = Self::default();
        {
            let mut recorder = recording.recorder.lock();
            for (path, bytes) in base.files() {
                recording.memory.insert(&path, bytes.clone())?;
                let number = recorder.files;
                recorder.numbers.insert(path.clone(), number);
                recorder.files += 1;
                recorder.base.push((path, bytes));
            }
        }
        Ok(recording)
    }

    /// Puts a mark into the trace.
    pub fn mark(&self, label: impl Into<String>) {
        self.mark_with(label, Bytes::new());
    }

    /// Puts a mark with some bytes into the trace.
    pub fn mark_with(&self, label: impl Into<String>, bytes: impl Into<Bytes>) {
        let mark = Mark {
            label: label.into(),
            bytes: bytes.into(),
        };
        self.recorder.lock().steps.push(Step::Mark(mark));
    }

    /// How many operations and marks there are.
    pub fn steps(&self) -> usize {
        self.recorder.lock().steps.len()
    }

    /// The trace so far.
    pub fn trace(&self) -> Trace {
        let recorder = self.recorder.lock();
        Trace {
            base: Arc::new(recorder.base.clone()),
            steps: Arc::new(recorder.steps.clone()),
        }
    }

    /// Does `act` on the folder and, where it succeeds, records `step`, in one go.
    fn record(&self, step: Step, act: impl FnOnce(&MemoryStorage) -> Result<()>) -> Result<()> {
        let mut recorder = self.recorder.lock();
        act(&self.memory)?;
        recorder.follow_names(&step);
        recorder.steps.push(step);
        Ok(())
    }
}

impl Recorder {
    /// Keeps track of which file has which name.
    fn follow_names(&mut self, step: &Step) {
        match step {
            Step::Rename(from, to) => {
                let inside = format!("{from}/");
                let moved: Vec<String> = self
                    .numbers
                    .keys()
                    .filter(|path| *path == from || path.starts_with(&inside))
                    .cloned()
                    .collect();
                for path in moved {
                    if let Some(number) = self.numbers.remove(&path) {
                        let renamed = format!("{to}{}", &path[from.len()..]);
                        self.numbers.insert(renamed, number);
                    }
                }
            }
            Step::RemoveFile(path) => {
                self.numbers.remove(path);
            }
            Step::RemoveDir(path) => {
                let inside = format!("{path}/");
                self.numbers.retain(|path, _| !path.starts_with(&inside));
            }
            _ => {}
        }
    }
}

impl Trace {
    /// How many operations and marks there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How often a file was opened to be written over.
    pub fn reuses(&self) -> usize {
        let steps = self.steps.iter();
        steps.filter(|step| matches!(step, Step::Reuse(_))).count()
    }

    /// The folder as it could be found after a power cut behind the first `steps` operations,
    /// with the choices of `seed` for all that was not synced.
    pub fn rebuild(&self, steps: usize, survival: Survival, seed: u64) -> Result<Rebuilt> {
        let steps = &self.steps[..steps.min(self.steps.len())];
        rebuild(&self.base, steps, survival, seed)
    }
}

impl Storage for RecordingStorage {
    fn create_dir(&self, path: &str) -> Result<()> {
        self.record(Step::CreateDir(path.to_owned()), |memory| {
            memory.create_dir(path)
        })
    }

    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let mut recorder = self.recorder.lock();
        let inner = self.memory.create(path)?;
        let number = recorder.files;
        recorder.files += 1;
        recorder.numbers.insert(path.to_owned(), number);
        recorder.steps.push(Step::Create(number, path.to_owned()));
        Ok(Box::new(RecordedFile {
            recorder: self.recorder.clone(),
            inner,
            number,
        }))
    }

    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let recorder = self.recorder.lock();
        let inner = self.memory.append(path)?;
        Ok(Box::new(RecordedFile {
            number: recorder.numbers[path],
            recorder: self.recorder.clone(),
            inner,
        }))
    }

    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let mut recorder = self.recorder.lock();
        let inner = self.memory.reuse(path)?;
        let number = recorder.numbers[path];
        recorder.steps.push(Step::Reuse(number));
        Ok(Box::new(RecordedFile {
            number,
            recorder: self.recorder.clone(),
            inner,
        }))
    }

    fn gains_by_reuse(&self) -> bool {
        true
    }

    fn map(&self, path: &str) -> Result<Bytes> {
        self.memory.map(path)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.memory.read(path)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.memory.read_at(path, offset, length)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.memory.list(path)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        self.memory.exists(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.record(Step::Rename(from.to_owned(), to.to_owned()), |memory| {
            memory.rename(from, to)
        })
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        self.record(Step::RemoveFile(path.to_owned()), |memory| {
            memory.remove_file(path)
        })
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        self.record(Step::RemoveDir(path.to_owned()), |memory| {
            memory.remove_dir(path)
        })
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        self.record(Step::SyncDir(path.to_owned()), |memory| {
            memory.sync_dir(path)
        })
    }

    fn free_bytes(&self) -> Result<u64> {
        self.memory.free_bytes()
    }
}

struct RecordedFile {
    recorder: Arc<Mutex<Recorder>>,
    inner: Box<dyn StorageFile>,
    number: FileNumber,
}

impl StorageFile for RecordedFile {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let mut recorder = self.recorder.lock();
        self.inner.write(parts)?;
        let bytes = Bytes::from(parts.concat());
        recorder.steps.push(Step::Write(self.number, bytes));
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut recorder = self.recorder.lock();
        self.inner.sync()?;
        recorder.steps.push(Step::Sync(self.number));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        let mut recorder = self.recorder.lock();
        self.inner.truncate(bytes)?;
        recorder.steps.push(Step::Truncate(self.number, bytes));
        Ok(())
    }
}
