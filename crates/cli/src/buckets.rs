//! Backups in a bucket of an object store that speaks S3.
//!
//! What must stay true: an object has its name only once it is whole, which the store promises; one
//! program at a time writes backups under a prefix, by a lease on an object that it renews and that
//! others may take over only when it was not renewed for long, by the store's own clock. Where the
//! bucket is, and with what keys, comes from the environment variables that S3's own tools read.

mod lease;
mod wire;

use std::fmt::Display;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use vermilion_engine::backup::{Destination, Destinations, ObjectWriter};
use vermilion_engine::storage::Entry;
use vermilion_engine::{Error, ErrorKind, Result};

use lease::Lease;
use wire::Connector;

/// Bytes of one part of a large object; a store takes 10,000 of them.
const PART_BYTES: usize = 16 << 20;

/// A store, and the runtime that its calls run on.
pub(crate) struct Store {
    runtime: tokio::runtime::Runtime,
    objects: Arc<dyn ObjectStore>,
    /// Where this is, for messages.
    address: String,
}

impl Store {
    /// Waits for a call of the store; `doing` is what it is for.
    fn wait<T>(
        &self,
        doing: &str,
        path: &ObjectPath,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let done = self.runtime.block_on(call);
        done.map_err(|error| self.failure(doing, path, &error))
    }

    fn failure(&self, doing: &str, path: &ObjectPath, error: &object_store::Error) -> Error {
        let kind = match error {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            object_store::Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            object_store::Error::Precondition { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        };
        Error::new(
            kind,
            format!("cannot {doing} {path} of {}: {error}", self.address),
        )
    }
}

/// Where a bucket is and what its objects' names begin with.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    bucket: String,
    prefix: String,
}

impl Address {
    /// Reads `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let sound = |part: &str| !matches!(part, "" | "." | "..");
        if !sound(bucket) || !(prefix.is_empty() || prefix.split('/').all(sound)) {
            let message = format!("{text:?} is no bucket; write s3://BUCKET or s3://BUCKET/PREFIX");
            return Err(Error::invalid(message));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    fn within(&self, name: &str) -> Self {
        Self {
            bucket: self.bucket.clone(),
            prefix: join(&self.prefix, name),
        }
    }

    fn text(&self) -> String {
        format!("s3://{}", join(&self.bucket, &self.prefix))
    }

    fn store(&self) -> Result<Arc<Store>> {
        let address = self.text();
        let unusable = |error: &dyn Display| {
            Error::invalid(format!(
                "{address} cannot be used: {error}; keys, region and endpoint are read from \
                 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL"
            ))
        };
        let builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_http_connector(Connector);
        let objects = builder.build().map_err(|error| unusable(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| unusable(&error))?;
        Ok(Arc::new(Store {
            runtime,
            objects: Arc::new(objects),
            address,
        }))
    }
}

/// Destinations whose names are prefixes in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Buckets(pub(crate) Address);

impl Destinations for Buckets {
    fn open(&self, name: &str) -> Result<Box<dyn Destination>> {
        Ok(Box::new(Bucket::open(&self.0.within(name))?))
    }

    fn look(&self, name: &str) -> Result<Option<Box<dyn Destination>>> {
        let bucket = Bucket::open_read_only(&self.0.within(name))?;
        let is_there = !bucket.list("")?.is_empty();
        Ok(is_there.then(|| Box::new(bucket) as Box<dyn Destination>))
    }
}

/// Backups in a bucket.
pub(crate) struct Bucket {
    store: Arc<Store>,
    prefix: String,
    /// The right to write; none for who only reads.
    lease: Option<Arc<Lease>>,
    /// The object that was read last, and its length.
    read: parking_lot::Mutex<Option<(String, u64)>>,
}

impl Bucket {
    /// The bucket, to write backups to. `Busy` while another program does.
    pub(crate) fn open(address: &Address) -> Result<Self> {
        let mut bucket = Self::open_read_only(address)?;
        let lease = Lease::take(bucket.store.clone(), &bucket.prefix)?;
        bucket.lease = Some(Arc::new(lease));
        Ok(bucket)
    }

    /// The bucket, to restore from: nothing in it changes.
    pub(crate) fn open_read_only(address: &Address) -> Result<Self> {
        Ok(Self {
            store: address.store()?,
            prefix: address.prefix.clone(),
            lease: None,
            read: parking_lot::Mutex::default(),
        })
    }

    fn path(&self, path: &str) -> ObjectPath {
        ObjectPath::from(join(&self.prefix, path))
    }

    fn renew(&self) -> Result<()> {
        self.lease.as_ref().map_or(Ok(()), |lease| lease.renew())
    }

    /// How long the object is; looked up once while it is read.
    fn length_of(&self, path: &str) -> Result<u64> {
        let mut read = self.read.lock();
        if let Some((known, length)) = read.as_ref()
            && known == path
        {
            return Ok(*length);
        }
        let object = self.path(path);
        let head = self.store.objects.head(&object);
        let length = self.store.wait("look at", &object, head)?.size;
        *read = Some((path.to_owned(), length));
        Ok(length)
    }

    /// All objects whose names begin with the folder `path`.
    fn objects_of(&self, path: &ObjectPath, to: &mut Vec<ObjectPath>) -> Result<()> {
        let listed = self.store.objects.list_with_delimiter(Some(path));
        let listed = self.store.wait("list", path, listed)?;
        to.extend(listed.objects.into_iter().map(|object| object.location));
        listed
            .common_prefixes
            .iter()
            .try_for_each(|folder| self.objects_of(folder, to))
    }
}

impl Destination for Bucket {
    fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        let Some(lease) = &self.lease else {
            return Err(Error::internal("a bucket that is only read is written to"));
        };
        *self.read.lock() = None;
        Ok(Box::new(BucketObject {
            store: self.store.clone(),
            lease: lease.clone(),
            path: self.path(path),
            part: Vec::new(),
            upload: None,
        }))
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.renew()?;
        let end = offset
            .saturating_add(length as u64)
            .min(self.length_of(path)?);
        if offset >= end {
            return Ok(Vec::new());
        }
        let object = self.path(path);
        let range = self.store.objects.get_range(&object, offset..end);
        Ok(self.store.wait("read", &object, range)?.into())
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let folder = self.path(path);
        let prefix = (!folder.as_ref().is_empty()).then_some(&folder);
        let listed = self.store.objects.list_with_delimiter(prefix);
        let listed = self.store.wait("list", &folder, listed)?;
        let objects = listed.objects.iter().map(|object| Entry {
            name: object.location.filename().unwrap_or_default().to_owned(),
            bytes: object.size,
            is_dir: false,
        });
        let folders = listed.common_prefixes.iter().map(|folder| Entry {
            name: folder.filename().unwrap_or_default().to_owned(),
            bytes: 0,
            is_dir: true,
        });
        let is_backup = |entry: &Entry| !lease::is_own(&entry.name);
        let mut entries: Vec<Entry> = objects.chain(folders).filter(is_backup).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn remove(&self, path: &str) -> Result<()> {
        *self.read.lock() = None;
        let mut objects = Vec::new();
        self.objects_of(&self.path(path), &mut objects)?;
        for object in objects {
            self.renew()?;
            let deleted = self.store.objects.delete(&object);
            match self.store.wait("remove", &object, deleted) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }
}

struct BucketObject {
    store: Arc<Store>,
    lease: Arc<Lease>,
    path: ObjectPath,
    /// Bytes that no part has yet.
    part: Vec<u8>,
    /// An object of several parts, which has no name until it is finished.
    upload: Option<Box<dyn MultipartUpload>>,
}

impl BucketObject {
    fn upload_part(&mut self) -> Result<()> {
        self.lease.renew()?;
        let mut upload = if let Some(upload) = self.upload.take() {
            upload
        } else {
            let begun = self.store.objects.put_multipart(&self.path);
            self.store.wait("begin", &self.path, begun)?
        };
        let part = PutPayload::from(std::mem::take(&mut self.part));
        let written = upload.put_part(part);
        self.upload = Some(upload);
        self.store.wait("write", &self.path, written)
    }
}

impl ObjectWriter for BucketObject {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        for mut bytes in parts.iter().copied() {
            while !bytes.is_empty() {
                let room = PART_BYTES - self.part.len();
                let (now, later) = bytes.split_at(bytes.len().min(room));
                self.part.extend_from_slice(now);
                bytes = later;
                if self.part.len() == PART_BYTES {
                    self.upload_part()?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.lease.renew()?;
        if self.upload.is_none() {
            let whole = PutPayload::from(std::mem::take(&mut self.part));
            let put = self.store.objects.put(&self.path, whole);
            self.store.wait("write", &self.path, put)?;
            return Ok(());
        }
        if !self.part.is_empty() {
            self.upload_part()?;
        }
        if let Some(upload) = &mut self.upload {
            let completed = upload.complete();
            self.store.wait("finish", &self.path, completed)?;
        }
        self.upload = None;
        Ok(())
    }
}

impl Drop for BucketObject {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // Parts that are not given back are stored, and paid for, until the bucket's own rules
            // end them.
            if let Err(error) = self.store.wait("give up", &self.path, upload.abort()) {
                tracing::warn!(%error, "parts of an unfinished object stay in the bucket");
            }
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_bucket_and_perhaps_a_prefix() {
        for (text, expected) in [
            ("s3://b", "s3://b"),
            ("s3://b/", "s3://b"),
            ("s3://b/a/c/", "s3://b/a/c"),
        ] {
            assert_eq!(Address::read(text).expect(text).text(), expected);
        }
        for text in [
            "b",
            "s3://",
            "s3:///x",
            "s3://b//x",
            "s3://b/../x",
            "s3://./x",
        ] {
            let error = Address::read(text).expect_err(text);
            assert!(error.message().contains("s3://BUCKET/PREFIX"), "{error}");
        }
    }
}
