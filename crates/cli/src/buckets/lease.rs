//! The right to write backups under a prefix, which one program has at a time.
//!
//! What must stay true: the object of the lease changes only on the condition that it is as it was
//! seen, so that of two programs that want it one gets it; whether it is out of date is told by the
//! times that the store itself gives objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutMode, PutPayload, PutResult, UpdateVersion};
use parking_lot::Mutex;
use vermilion_engine::{Error, ErrorKind, Result};

use super::{Store, join};

/// The object that stands for the right to write.
const LEASE: &str = "lease";
/// An object that is made to ask the store what time it is.
const NOW: &str = "lease-now";
/// A lease is renewed by who works under it when it is so old.
const RENEWED_AFTER: Duration = Duration::from_mins(1);
/// A lease that was not renewed for so long may be taken over.
const OVER_AFTER: Duration = Duration::from_mins(15);

/// Whether an object is of a lease, and of no backup.
pub(super) fn is_own(name: &str) -> bool {
    name == LEASE || name == NOW
}

/// The right to write, given back when this is dropped.
pub(super) struct Lease {
    store: Arc<Store>,
    path: ObjectPath,
    state: Mutex<State>,
}

struct State {
    version: UpdateVersion,
    renewed: Instant,
    lost: bool,
}

impl Lease {
    /// Takes the right to write under `prefix`; `Busy` while another program has it.
    pub(super) fn take(store: Arc<Store>, prefix: &str) -> Result<Self> {
        let path = ObjectPath::from(join(prefix, LEASE));
        let put = match put(&store, &path, PutMode::Create) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let version = expect_over(&store, &path, prefix)?;
                put(&store, &path, PutMode::Update(version)).map_err(|error| {
                    match error.kind() {
                        ErrorKind::Conflict => busy(&store, "has just begun"),
                        _ => error,
                    }
                })?
            }
            put => put?,
        };
        let state = State {
            version: put.into(),
            renewed: Instant::now(),
            lost: false,
        };
        Ok(Self {
            store,
            path,
            state: Mutex::new(state),
        })
    }

    /// Called while there is work: renews the lease now and then.
    pub(super) fn renew(&self) -> Result<()> {
        let mut state = self.state.lock();
        if !state.lost && state.renewed.elapsed() < RENEWED_AFTER {
            return Ok(());
        }
        let renewed = put(
            &self.store,
            &self.path,
            PutMode::Update(state.version.clone()),
        );
        match renewed {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                state.lost = true;
                let message = "another program took over the right to write backups there, since \
                               this one had not renewed it for long; make the backup again";
                Err(Error::new(ErrorKind::Conflict, message))
            }
            renewed => {
                state.version = renewed?.into();
                state.renewed = Instant::now();
                Ok(())
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.state.lock().lost {
            return;
        }
        let deleted = self.store.objects.delete(&self.path);
        if let Err(error) = self.store.wait("remove", &self.path, deleted) {
            tracing::warn!(%error, "the next backup there has to wait until the lease is over");
        }
    }
}

fn put(store: &Store, path: &ObjectPath, mode: PutMode) -> Result<PutResult> {
    let text = format!("vermilion {}", uuid::Uuid::new_v4());
    let put = store
        .objects
        .put_opts(path, PutPayload::from(text.into_bytes()), mode.into());
    store.wait("take", path, put)
}

/// The version of a lease that is over; `Busy` for one that is not.
fn expect_over(store: &Store, path: &ObjectPath, prefix: &str) -> Result<UpdateVersion> {
    let held = store.wait("look at", path, store.objects.head(path))?;
    let now = ObjectPath::from(join(prefix, NOW));
    let put = store.objects.put(&now, PutPayload::default());
    store.wait("write", &now, put)?;
    let seen = store.wait("look at", &now, store.objects.head(&now))?;
    store.wait("remove", &now, store.objects.delete(&now))?;
    let age = (seen.last_modified - held.last_modified).to_std();
    let age = age.unwrap_or_default();
    if age < OVER_AFTER {
        let left = OVER_AFTER.saturating_sub(age).as_secs() / 60 + 1;
        return Err(busy(
            store,
            &format!(
                "renewed its lease {} s ago; where that program is gone, this works in {left} \
                 minutes, or once the object {path} is removed",
                age.as_secs()
            ),
        ));
    }
    Ok(UpdateVersion {
        e_tag: held.e_tag,
        version: held.version,
    })
}

fn busy(store: &Store, why: &str) -> Error {
    let message = format!(
        "another program writes backups to {}: it {why}",
        store.address
    );
    Error::new(ErrorKind::Busy, message)
}
