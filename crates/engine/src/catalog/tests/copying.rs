//! The whole catalogue as data, out of one catalogue and into another.

use super::*;
use crate::catalog::CatalogCopy;

#[test]
fn a_copy_holds_everything_survives_json_and_replaces_what_another_catalogue_held() {
    let catalog = Catalog::open(&CatalogLocation::memory()).unwrap();
    catalog.create_tenant("acme").unwrap();
    catalog.update_tenant("acme", "resource").unwrap();
    catalog.create_database("acme", "main").unwrap();
    let id = CollectionId::random();
    let new = crate::model::NewCollection {
        tenant: "acme".into(),
        database: "main".into(),
        name: "things".into(),
        metadata: serde_json::json!({"k": [1, "x"]}).as_object().cloned(),
        schema: crate::model::Schema::default(),
        get_or_create: false,
    };
    catalog.create_collection(id, &new).unwrap();
    let segment = |dead: Vec<u8>| crate::catalog::SegmentRow {
        id: crate::model::SegmentId::random(),
        home: None,
        rows: 7,
        toc_checksum: u64::MAX - 1,
        dead,
    };
    let commit = ManifestCommit {
        collection: id,
        manifest: Manifest {
            version: 1,
            applied: SeqId(9),
            segments: vec![segment(vec![0, 255, 16]), segment(Vec::new())],
        },
        dimension: Some(3),
        schema: None,
    };
    catalog.commit_manifest(&commit).unwrap();
    let document = crate::catalog::Document {
        kind: "dataset".into(),
        key: "things/v7".into(),
        body: serde_json::json!({"expires_at": null}),
    };
    catalog.put_document(&document).unwrap();
    let copy = catalog.export().unwrap();
    assert_eq!(copy.documents, [document]);
    assert_eq!(copy.collections[0].manifest, commit.manifest);
    let text = serde_json::to_string(&copy).unwrap();
    let read: CatalogCopy = serde_json::from_str(&text).unwrap();
    assert_eq!(read, copy);

    let other = Catalog::open(&CatalogLocation::memory()).unwrap();
    other.create_tenant("gone").unwrap();
    other.import(&read).unwrap();
    assert_eq!(other.export().unwrap(), copy);
    other.verify().unwrap();
    let mut orphan = copy.clone();
    orphan.databases.clear();
    let error = other.import(&orphan).unwrap_err();
    assert!(error.message().contains("Database [main]"), "{error}");
    assert_eq!(
        other.export().unwrap(),
        copy,
        "a refused copy changes nothing"
    );
}
