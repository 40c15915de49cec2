//! Tests of the catalogue: what it answers, what survives, and what it notices.

mod copying;
mod damage;
mod jobs;
mod manifests;
mod names;
mod reading;

use std::path::Path;

use serde_json::json;
use uuid::Uuid;

use super::{Catalog, CatalogLocation, CollectionRow, Manifest, ManifestCommit, SegmentRow};
use crate::ErrorKind;
use crate::model::{CollectionId, DatabaseInfo, NewCollection, Page, Schema, SegmentId, SeqId};

fn open(path: &Path) -> crate::Result<Catalog> {
    Catalog::open(&CatalogLocation::File(path.to_owned()))
}

fn in_memory() -> Catalog {
    Catalog::open(&CatalogLocation::memory()).unwrap()
}

fn id(number: u128) -> CollectionId {
    CollectionId(Uuid::from_u128(number))
}

fn new(name: &str) -> NewCollection {
    let serde_json::Value::Object(metadata) = json!({"of": name, "size": 3, "ratio": 0.25}) else {
        unreachable!("it is an object");
    };
    NewCollection {
        tenant: "default_tenant".into(),
        database: "default_database".into(),
        name: name.into(),
        metadata: Some(metadata),
        schema: Schema::default(),
        get_or_create: false,
    }
}

fn segment(number: u128, dead: &[u8]) -> SegmentRow {
    SegmentRow {
        id: SegmentId(Uuid::from_u128(number)),
        home: None,
        rows: number as u32 * 10,
        toc_checksum: u64::MAX - number as u64,
        dead: dead.to_vec(),
    }
}

fn commit(catalog: &Catalog, version: u64, segments: Vec<SegmentRow>) -> crate::Result<()> {
    catalog.commit_manifest(&ManifestCommit {
        collection: id(1),
        manifest: Manifest {
            version,
            applied: SeqId(version.wrapping_mul(100)),
            segments,
        },
        dimension: Some(8),
        schema: None,
    })
}

/// Everything that a catalogue answers.
#[derive(Clone, Debug, PartialEq)]
struct Answers {
    collections: Vec<CollectionRow>,
    databases: Vec<DatabaseInfo>,
    tenants: Vec<Result<Option<String>, String>>,
}

fn answers(catalog: &Catalog) -> crate::Result<Answers> {
    catalog.verify()?;
    let tenant = |name: &str| match catalog.tenant(name) {
        Ok(tenant) => Ok(Ok(tenant.resource_name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(error.message().to_owned())),
        Err(error) => Err(error),
    };
    Ok(Answers {
        collections: catalog.load()?,
        databases: catalog.databases("default_tenant", Page::default())?,
        tenants: ["default_tenant", "acme", "other"]
            .map(tenant)
            .into_iter()
            .collect::<Result<_, _>>()?,
    })
}

/// Some of everything, in the number of transactions that `told` hears of.
fn fill(catalog: &Catalog, mut told: impl FnMut(&Catalog)) {
    catalog.create_tenant("acme").unwrap();
    told(catalog);
    catalog.update_tenant("acme", "acme-resource").unwrap();
    told(catalog);
    catalog.create_database("default_tenant", "second").unwrap();
    told(catalog);
    for number in 1..=12 {
        catalog
            .create_collection(id(number), &new(&format!("collection-{number}")))
            .unwrap();
        told(catalog);
    }
    commit(
        catalog,
        1,
        vec![segment(1, b"dead rows"), segment(2, &[7; 6000])],
    )
    .unwrap();
    told(catalog);
    commit(catalog, 2, vec![segment(2, &[8; 6000]), segment(3, b"")]).unwrap();
    told(catalog);
    catalog.delete_collection(id(12)).unwrap();
    told(catalog);
}
