//! Where records come from or go to: a data folder in this process, or a running server.

use serde_json::{Value, json};

use crate::arguments::{Place, SpaceName};
use crate::failure::Failure;

use super::Record;
use super::embedded::Embedded;
use super::remote::Remote;

/// A collection in one of the two places.
pub(crate) enum Collection {
    /// In a folder that this process has open.
    Embedded(Embedded),
    /// Behind a server.
    Remote(Remote),
}

impl Collection {
    /// The collection, made with `space` and an embedding function of the name `function` where it is not
    /// there; and whether this call made it.
    pub(crate) fn open_or_create(
        place: &Place,
        space: SpaceName,
        function: Option<&str>,
    ) -> Result<(Self, bool), Failure> {
        let mut configuration = json!({"hnsw": {"space": space.text()}});
        if let Some(name) = function {
            let known = json!({"type": "known", "name": name, "config": {}});
            configuration["embedding_function"] = known;
        }
        let request = json!({"name": place.collection, "configuration": configuration});
        if let Some(url) = &place.url {
            let (remote, is_new) = Remote::open_or_create(url, place, &request)?;
            return Ok((Self::Remote(remote), is_new));
        }
        let (embedded, is_new) = Embedded::open_or_create(place, &request)?;
        Ok((Self::Embedded(embedded), is_new))
    }

    /// The collection that `request`, the body of a request that makes one, describes; its tenant and
    /// database are made where they are not there.
    pub(crate) fn create(place: &Place, request: &Value) -> Result<Self, Failure> {
        match &place.url {
            Some(url) => Ok(Self::Remote(Remote::create(url, place, request)?)),
            None => Ok(Self::Embedded(Embedded::create(place, request)?)),
        }
    }

    /// The collection, which must be there.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        match &place.url {
            Some(url) => Ok(Self::Remote(Remote::open(url, place)?)),
            None => Ok(Self::Embedded(Embedded::open(place)?)),
        }
    }

    /// The folder or server and the id of the collection, as texts.
    pub(crate) fn identity(&self) -> (String, String) {
        match self {
            Self::Embedded(embedded) => embedded.identity(),
            Self::Remote(remote) => remote.identity(),
        }
    }

    /// The name of the embedding function that the collection was made with.
    pub(crate) fn function(&self) -> Option<&str> {
        let described = match self {
            Self::Embedded(embedded) => embedded.function(),
            Self::Remote(remote) => remote.function(),
        };
        described?.get("name")?.as_str()
    }

    /// How vectors are compared, as configurations name it; `None` where a server does not tell.
    pub(crate) fn space(&self) -> Option<&str> {
        match self {
            Self::Embedded(embedded) => embedded.space(),
            Self::Remote(remote) => remote.space(),
        }
    }

    /// Records that one batch may have.
    pub(crate) fn batch_records_max(&self) -> usize {
        match self {
            Self::Embedded(embedded) => embedded.batch_records_max(),
            Self::Remote(remote) => remote.batch_records_max(),
        }
    }

    /// Writes the records as one batch; returns when they are durable.
    pub(crate) fn upsert(&self, records: &[Record]) -> Result<(), Failure> {
        match self {
            Self::Embedded(embedded) => embedded.upsert(records),
            Self::Remote(remote) => remote.upsert(records),
        }
    }

    /// Removes the collection, which this process made, unless somebody has written to it since or made another
    /// of its name.
    pub(crate) fn remove_unused(&self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::Embedded(embedded) => embedded.remove_unused(&place.collection),
            Self::Remote(remote) => remote.remove_unused(&place.collection),
        }
    }

    /// Has what was written be in segments with their indexes, where this process does that.
    pub(crate) fn settle(&self) -> Result<(), Failure> {
        match self {
            Self::Embedded(embedded) => embedded.settle(),
            Self::Remote(_) => Ok(()),
        }
    }

    /// The ids of all records in the order of their insertion.
    pub(crate) fn ids(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Embedded(embedded) => embedded.ids(),
            Self::Remote(remote) => remote.ids(),
        }
    }

    /// The records with these ids; those that are gone are left out.
    pub(crate) fn records(&self, ids: &[String]) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Embedded(embedded) => embedded.records(ids),
            Self::Remote(remote) => remote.records(ids),
        }
    }

    /// Ends: a folder is closed cleanly.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Embedded(embedded) => embedded.close(),
            Self::Remote(_) => Ok(()),
        }
    }
}
