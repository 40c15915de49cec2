//! Manifests: all or nothing, in order, with the segments as they were given.

use super::*;
use crate::model::{CollectionUpdate, Space, ValueKind};

fn stored(catalog: &Catalog) -> Manifest {
    catalog.load().unwrap()[0].manifest.clone()
}

#[test]
fn manifest_replaces_segments_and_keeps_their_order() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    let (first, second, third) = (segment(3, b""), segment(2, b"x"), segment(1, b"y"));
    commit(
        &catalog,
        1,
        vec![first.clone(), second.clone(), third.clone()],
    )
    .unwrap();
    assert_eq!(
        stored(&catalog).segments,
        [first, second.clone(), third.clone()]
    );

    let (merged, changed) = (
        segment(9, b""),
        SegmentRow {
            dead: b"more".into(),
            ..second
        },
    );
    commit(
        &catalog,
        2,
        vec![merged.clone(), third.clone(), changed.clone()],
    )
    .unwrap();
    let manifest = stored(&catalog);
    assert_eq!(manifest.segments, [merged, third, changed]);
    assert_eq!((manifest.version, manifest.applied), (2, SeqId(200)));
    assert_eq!(catalog.load().unwrap()[0].collection.dimension, Some(8));
    commit(&catalog, 3, vec![]).unwrap();
    assert_eq!(stored(&catalog).segments, []);
    catalog.verify().unwrap();
}

#[test]
fn manifest_that_is_not_the_next_one_is_refused_and_changes_nothing() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    commit(&catalog, 1, vec![segment(1, b"")]).unwrap();
    let before = answers(&catalog).unwrap();
    for version in [0, 1, 3, u64::MAX] {
        let error = commit(&catalog, version, vec![]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(answers(&catalog).unwrap(), before);
    }
}

#[test]
fn manifest_of_a_deleted_collection_is_refused() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    catalog.delete_collection(id(1)).unwrap();
    assert_eq!(
        commit(&catalog, 1, vec![]).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn manifest_without_dimension_or_schema_keeps_the_stored_ones() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    commit(&catalog, 1, vec![]).unwrap();
    let schema = Schema::default();
    catalog
        .commit_manifest(&ManifestCommit {
            collection: id(1),
            manifest: Manifest {
                version: 2,
                applied: SeqId(u64::MAX),
                segments: vec![],
            },
            dimension: None,
            schema: Some(schema.clone()),
        })
        .unwrap();
    let row = &catalog.load().unwrap()[0];
    assert_eq!(row.collection.dimension, Some(8));
    assert_eq!(row.collection.schema, schema);
    assert_eq!(row.manifest.applied, SeqId(u64::MAX));
}

#[test]
fn manifest_with_a_segment_twice_fails_and_leaves_the_catalogue_usable() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    let before = answers(&catalog).unwrap();
    commit(&catalog, 1, vec![segment(1, b""), segment(1, b"")]).unwrap_err();
    assert_eq!(answers(&catalog).unwrap(), before);
    commit(&catalog, 1, vec![segment(1, b"")]).unwrap();
}

#[test]
fn a_seal_and_a_change_of_settings_take_nothing_from_each_other() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    let before = catalog.load().unwrap()[0].collection.schema.clone();
    // A seal that began before the settings changed, with a key that records have brought.
    let mut sealed = before.clone();
    sealed.discover("brought", ValueKind::Int);
    let mut changed = before;
    changed.change_vectors(|vectors| vectors.space = Some(Space::Cosine));
    let update = |schema: &Schema| {
        let update = CollectionUpdate {
            schema: Some(schema.clone()),
            ..CollectionUpdate::default()
        };
        catalog.update_collection(id(1), &update).unwrap();
    };
    update(&changed);
    catalog
        .commit_manifest(&ManifestCommit {
            collection: id(1),
            manifest: Manifest {
                version: 1,
                applied: SeqId(1),
                segments: vec![],
            },
            dimension: None,
            schema: Some(sealed),
        })
        .unwrap();
    // A change that was made of what was known before the seal.
    changed.change_vectors(|vectors| vectors.space = Some(Space::Ip));
    update(&changed);
    let stored = catalog.load().unwrap()[0].collection.schema.clone();
    assert_eq!(stored.space(), Space::Ip);
    assert!(stored.has_discovered("brought", ValueKind::Int));
}
