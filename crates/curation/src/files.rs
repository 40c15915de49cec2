//! Files of records that are kept with a space, for other programs to read.
//!
//! What must stay true: a file is named only once it is durable and, where its format says how many records it has,
//! was read back.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use vermilion_engine::{Blob, BlobWriter};

use crate::export::{Columns, Format, Writer};
use crate::spaces::Space;
use crate::{Curation, Refusal, Result};

/// Records of a file: few enough that nobody writes many of them while it is made.
pub(crate) const FILE_RECORDS: usize = 65_536;

/// A file that is kept with a space, with its bytes.
#[derive(Clone, Debug)]
pub struct KeptFile {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their media type.
    pub media_type: &'static str,
    /// What a download is called.
    pub name: String,
}

/// A file as it is told: what it says of itself, and what it is.
pub(crate) fn tell(blob: &Blob, about: &impl Serialize) -> Json {
    let mut told = json!(about);
    told["id"] = json!(blob.id);
    told["bytes"] = json!(blob.bytes);
    told["checksum"] = json!(blob.checksum);
    told
}

/// The file with this id.
pub(crate) fn with_id<A>(files: Vec<(Blob, A)>, id: &str) -> Option<(Blob, A)> {
    files
        .into_iter()
        .find(|(blob, _)| blob.id.to_string() == id)
}

/// A file that is being made; nothing is left of one that is not finished.
pub(crate) struct Filling<'a> {
    curation: &'a Curation,
    writer: Writer,
    blob: BlobWriter<'a>,
    pub(crate) records: u64,
}

impl Filling<'_> {
    /// Takes records.
    pub(crate) fn put(&mut self, rows: &[Json]) -> Result<()> {
        let piece = self.writer.put(rows)?;
        self.blob.write(&piece)?;
        self.records += rows.len() as u64;
        Ok(())
    }

    /// Ends the file, which is `about` this.
    pub(crate) fn finish(mut self, space: &Space, about: Json) -> Result<Blob> {
        self.blob.write(&self.writer.end()?)?;
        let blob = self.blob.finish(about)?;
        let database = &self.curation.database;
        let found = Format::BEST.count(&database.read_blob(&blob)?)?;
        if let Some(found) = found.filter(|found| *found != self.records) {
            database.remove_blob(space.scope(), blob.id)?;
            let records = self.records;
            let message = format!("A file of {records} records has {found} when it is read back.");
            return Err(Refusal::new(500, "internal", message));
        }
        Ok(blob)
    }
}

impl Curation {
    /// Begins a file of the format that other programs read best.
    pub(crate) fn begin_file(&self, space: &Space, columns: Columns) -> Result<Filling<'_>> {
        let dimension = space.collection.dimension.unwrap_or(1) as usize;
        Ok(Filling {
            curation: self,
            writer: Writer::begin(Format::BEST, columns, dimension)?,
            blob: self.database.begin_blob(space.scope())?,
            records: 0,
        })
    }

    /// The files of a space that say this of themselves; those that are kept for something else say other things.
    pub(crate) fn files_about<A: DeserializeOwned>(&self, space: &Space) -> Result<Vec<(Blob, A)>> {
        let blobs = self.database.blobs(space.scope())?.into_iter();
        let known = blobs.filter_map(|blob| {
            let about = A::deserialize(&blob.about).ok()?;
            Some((blob, about))
        });
        Ok(known.collect())
    }

    /// A file that was kept in this format.
    pub(crate) fn kept_file(&self, blob: &Blob, format: &str) -> Result<KeptFile> {
        Ok(KeptFile {
            bytes: self.database.read_blob(blob)?,
            media_type: Format::named(Some(format))?.media_type(),
            name: format!("{}.{format}", blob.id),
        })
    }
}
