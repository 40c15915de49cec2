//! Where backups are, as a person names it: a folder, or a bucket.
//!
//! What must stay true: what reads backups makes and changes nothing.

use std::path::Path;
use std::sync::Arc;

use vermilion_engine::backup::{Destination, Destinations, Folder, Folders};

#[cfg(feature = "object-store")]
use crate::buckets::{Address, Bucket, Buckets};
use crate::failure::Failure;
use crate::folders::must_be_there;

/// What the address of a bucket begins with.
const BUCKET: &str = "s3://";

/// Backups at `place`, to make another; a folder that is not there is made.
pub(crate) fn open(place: &Path) -> Result<Box<dyn Destination>, Failure> {
    match bucket(place)? {
        Some(bucket) => bucket.open(),
        None => Ok(Box::new(Folder::open(place)?)),
    }
}

/// Backups at `place`, to look at.
pub(crate) fn look(place: &Path) -> Result<Box<dyn Destination>, Failure> {
    if let Some(bucket) = bucket(place)? {
        return bucket.look();
    }
    must_be_there(place, "name a folder that is there")?;
    Ok(Box::new(Folder::open_read_only(place)?))
}

/// The destinations of a server whose backups are at `place`.
pub(crate) fn all_at(place: &Path) -> Result<Arc<dyn Destinations>, Failure> {
    match bucket(place)? {
        Some(bucket) => Ok(bucket.all()),
        None => Ok(Arc::new(Folders::of(place.to_owned()))),
    }
}

/// The bucket that `place` means; `None` for a folder.
fn bucket(place: &Path) -> Result<Option<Named>, Failure> {
    match place.to_str() {
        Some(text) if text.starts_with(BUCKET) => Named::read(text).map(Some),
        _ => Ok(None),
    }
}

/// A bucket that somebody named.
#[cfg(feature = "object-store")]
struct Named(Address);

#[cfg(feature = "object-store")]
impl Named {
    fn read(text: &str) -> Result<Self, Failure> {
        Ok(Self(Address::read(text)?))
    }

    fn open(&self) -> Result<Box<dyn Destination>, Failure> {
        Ok(Box::new(Bucket::open(&self.0)?))
    }

    fn look(&self) -> Result<Box<dyn Destination>, Failure> {
        Ok(Box::new(Bucket::open_read_only(&self.0)?))
    }

    fn all(self) -> Arc<dyn Destinations> {
        Arc::new(Buckets(self.0))
    }
}

/// What this program cannot reach.
#[cfg(not(feature = "object-store"))]
enum Named {}

#[cfg(not(feature = "object-store"))]
impl Named {
    fn read(text: &str) -> Result<Self, Failure> {
        let message = format!("this program was built without buckets, so {text} is out of reach");
        Err(Failure::usage(message)
            .hint("name a folder, or build with `cargo build --release --features object-store`"))
    }

    fn open(&self) -> Result<Box<dyn Destination>, Failure> {
        match *self {}
    }

    fn look(&self) -> Result<Box<dyn Destination>, Failure> {
        match *self {}
    }

    fn all(self) -> Arc<dyn Destinations> {
        match self {}
    }
}
