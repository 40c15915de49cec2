//! A storage that fails when it is told to, around any other.
//!
//! What must stay true: a call that fails by order changes nothing in the folder below, but for a
//! short write, which writes its first half.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{Entry, Storage, StorageFile};
use crate::{Error, ErrorKind, Result};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Calls that take space (making files and folders, writing) find the disk full.
    OutOfSpace,
    /// The same, but a write gets half of its bytes onto the disk first.
    ShortWrite,
    /// Any call fails as a broken disk makes it fail.
    InputOutput,
    /// Syncs of files fail.
    FailingSync,
    /// Syncs of folders fail.
    FailingSyncDir,
}

/// A kind of call, as far as faults tell them apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Take,
    Write,
    Sync,
    SyncDir,
    Free,
}

impl Fault {
    fn can_hit(self, call: Call) -> bool {
        match self {
            Self::OutOfSpace | Self::ShortWrite => matches!(call, Call::Take | Call::Write),
            Self::InputOutput => true,
            Self::FailingSync => call == Call::Sync,
            Self::FailingSyncDir => call == Call::SyncDir,
        }
    }

    fn error(self) -> Error {
        match self {
            Self::OutOfSpace | Self::ShortWrite => Error::new(
                ErrorKind::OutOfSpace,
                "No space left on device (a fault put in by a test)",
            ),
            Self::InputOutput | Self::FailingSync | Self::FailingSyncDir => {
                Error::internal("Input/output error (a fault put in by a test)")
            }
        }
    }
}

/// A storage that fails when it is told to. A clone is the same storage.
#[derive(Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    /// Calls since the plan was made that its fault could hit.
    calls: u64,
    /// Calls that failed by order.
    failed: u64,
    free_bytes: Option<u64>,
}

#[derive(Clone, Copy)]
struct Plan {
    fault: Fault,
    at: u64,
    from_then_on: bool,
}

impl FaultyStorage {
    /// Around `inner`; nothing fails yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Fails the `at`-th call from now that `fault` can hit (the next one is 1), and only that.
    pub fn fail_once(&self, fault: Fault, at: u64) {
        self.plan(fault, at, false);
    }

    /// Fails the `at`-th call from now that `fault` can hit, and every one after it.
    pub fn fail_from(&self, fault: Fault, at: u64) {
        self.plan(fault, at, true);
    }

    /// Nothing fails from now on.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.plan = None;
        state.free_bytes = None;
    }

    /// How many calls the fault of the last plan could have hit since the plan was made.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many calls failed by order.
    pub fn failed(&self) -> u64 {
        self.state.lock().failed
    }

    /// Lets `free_bytes` answer this until [`Self::heal`].
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state.lock().free_bytes = Some(bytes);
    }

    fn plan(&self, fault: Fault, at: u64, from_then_on: bool) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.plan = Some(Plan {
            fault,
            at,
            from_then_on,
        });
    }

    fn check(&self, call: Call) -> Result<(), (Fault, Error)> {
        self.state.lock().check(call)
    }

    fn pass(&self, call: Call) -> Result<()> {
        self.check(call).map_err(|(_, error)| error)
    }

    fn wrap(&self, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(FaultyFile {
            storage: self.clone(),
            inner,
        })
    }
}

impl State {
    fn check(&mut self, call: Call) -> Result<(), (Fault, Error)> {
        let Some(plan) = self.plan else {
            return Ok(());
        };
        if !plan.fault.can_hit(call) {
            return Ok(());
        }
        self.calls += 1;
        if self.calls == plan.at || (plan.from_then_on && self.calls > plan.at) {
            self.failed += 1;
            return Err((plan.fault, plan.fault.error()));
        }
        Ok(())
    }
}

impl Storage for FaultyStorage {
    fn create_dir(&self, path: &str) -> Result<()> {
        self.pass(Call::Take)?;
        self.inner.create_dir(path)
    }

    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.pass(Call::Take)?;
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.pass(Call::Read)?;
        Ok(self.wrap(self.inner.append(path)?))
    }

    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.pass(Call::Read)?;
        Ok(self.wrap(self.inner.reuse(path)?))
    }

    fn gains_by_reuse(&self) -> bool {
        true
    }

    fn map(&self, path: &str) -> Result<Bytes> {
        self.pass(Call::Read)?;
        self.inner.map(path)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.pass(Call::Read)?;
        self.inner.read(path)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.pass(Call::Read)?;
        self.inner.read_at(path, offset, length)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.pass(Call::Read)?;
        self.inner.list(path)
    }

    fn exists(&self, path: &str) -> Result<bool> {
        self.pass(Call::Read)?;
        self.inner.exists(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.pass(Call::Take)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        self.pass(Call::Free)?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        self.pass(Call::Free)?;
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        self.pass(Call::SyncDir)?;
        self.inner.sync_dir(path)
    }

    fn free_bytes(&self) -> Result<u64> {
        self.pass(Call::Read)?;
        match self.state.lock().free_bytes {
            Some(bytes) => Ok(bytes),
            None => self.inner.free_bytes(),
        }
    }
}

struct FaultyFile {
    storage: FaultyStorage,
    inner: Box<dyn StorageFile>,
}

impl StorageFile for FaultyFile {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        match self.storage.check(Call::Write) {
            Ok(()) => self.inner.write(parts),
            Err((Fault::ShortWrite, error)) => {
                let whole = parts.concat();
                self.inner.write(&[&whole[..whole.len() / 2]])?;
                Err(error)
            }
            Err((_, error)) => Err(error),
        }
    }

    fn sync(&mut self) -> Result<()> {
        self.storage.pass(Call::Sync)?;
        self.inner.sync()
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.storage.pass(Call::Free)?;
        self.inner.truncate(bytes)
    }
}
