//! Small pictures of inputs, as they are told, kept and shown.
//!
//! What must stay true: a thumbnail is the document of its record, a data URL (RFC 2397), so that it goes
//! wherever the record goes and any client shows it. What it is a picture of is read from its first bytes
//! and never taken from who sent it: nothing that a browser would run is ever answered as what it is.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error};

use crate::assess::no_record;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Bytes of a thumbnail at most.
pub(crate) const BYTES_MAX: usize = 32 * 1024;
/// Between the media type and the bytes of a data URL.
const MARK: &str = ";base64,";
/// Bytes that nobody draws.
const UNKNOWN: &str = "application/octet-stream";

/// A small picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// Reads base64, or a data URL of base64, whose media type is passed over.
    pub(crate) fn read(text: &str) -> std::result::Result<Self, base64::DecodeError> {
        let bytes = text
            .strip_prefix("data:")
            .and_then(|url| url.split_once(MARK));
        let bytes = bytes.map_or(text, |(_, bytes)| bytes);
        STANDARD.decode(bytes).map(Self)
    }

    /// The thumbnail that `document` is, where it is one.
    pub(crate) fn of_document(document: &str) -> Option<Self> {
        let (kind, bytes) = document.strip_prefix("data:")?.split_once(MARK)?;
        let found = Self(STANDARD.decode(bytes).ok()?);
        (found.media_type() == kind).then_some(found)
    }

    /// The document of a record with this thumbnail.
    pub(crate) fn document(&self) -> String {
        format!(
            "data:{}{MARK}{}",
            self.media_type(),
            STANDARD.encode(&self.0)
        )
    }

    /// What it is, by its first bytes.
    pub fn media_type(&self) -> &'static str {
        match self.0.as_slice() {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => "image/webp",
            [
                _,
                _,
                _,
                _,
                b'f',
                b't',
                b'y',
                b'p',
                b'a',
                b'v',
                b'i',
                b'f',
                ..,
            ] => "image/avif",
            _ => UNKNOWN,
        }
    }

    /// Whether a page may show it as a picture.
    pub(crate) fn is_picture(&self) -> bool {
        self.media_type() != UNKNOWN
    }

    /// Its bytes, as they were sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Judges the thumbnail of the record at `row` of a batch.
    pub(crate) fn check(&self, row: usize) -> Result<()> {
        let wrong = |code, message: String| {
            let refusal = Refusal::wrong(code, message).field("thumbnail").row(row);
            refusal.hint(format!(
                "1 to {BYTES_MAX} bytes, or null where there is none"
            ))
        };
        match self.0.len() {
            0 => Err(wrong(
                "empty_field",
                format!("The thumbnail of record {row} is empty."),
            )),
            1..=BYTES_MAX => Ok(()),
            bytes => Err(wrong(
                "thumbnail_too_large",
                format!("The thumbnail of record {row} has {bytes} bytes."),
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Thumbnail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(|error| D::Error::custom(format!("invalid base64: {error}")))
    }
}

impl Curation {
    /// The thumbnail of a record.
    pub fn thumbnail(&self, place: &Place, name: &str, id: &str) -> Result<Thumbnail> {
        let space = self.space(place, name)?;
        let mut found = self.thumbnails(&space, &[id.to_owned()])?;
        let found = found.remove(id).ok_or_else(|| no_record(id))?;
        found.ok_or_else(|| {
            let message = format!("The record `{id}` has no thumbnail.");
            Refusal::new(404, "no_thumbnail", message).hint("log it again with `thumbnail`")
        })
    }

    /// Those of `ids` that are records of the space, each with its thumbnail.
    pub(crate) fn thumbnails(
        &self,
        space: &Space,
        ids: &[String],
    ) -> Result<HashMap<String, Option<Thumbnail>>> {
        let found = self.fetch_documents(space, ids)?;
        let documents = found.documents.unwrap_or_default();
        let ids = found.ids.iter().map(str::to_owned).enumerate();
        Ok(ids
            .map(|(row, id)| (id, documents.get(row).and_then(Thumbnail::of_document)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_comes_back_from_its_document_as_what_its_bytes_say() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n and more"[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
            (b"....ftypavif", "image/avif"),
            (b"<svg onload='alert(1)'/>", "application/octet-stream"),
        ] {
            let told = Thumbnail(bytes.to_vec());
            assert_eq!(told.media_type(), kind);
            let kept = told.document();
            assert!(kept.starts_with(&format!("data:{kind};base64,")), "{kept}");
            assert_eq!(Thumbnail::of_document(&kept), Some(told.clone()));
            assert_eq!(Thumbnail::read(&kept), Ok(told));
        }
        let lie = format!("data:image/png;base64,{}", STANDARD.encode("<svg/>"));
        assert_eq!(Thumbnail::of_document(&lie), None);
        assert_eq!(Thumbnail::of_document("a text"), None);
    }
}
