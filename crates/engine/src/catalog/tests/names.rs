//! Tenants, databases and collections: what is answered, in which words.

use super::*;
use crate::model::CollectionUpdate;

#[track_caller]
fn refused<T: std::fmt::Debug>(result: crate::Result<T>, kind: ErrorKind, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.message()), (kind, message));
}

#[test]
fn default_tenant_and_database_exist_from_the_start() {
    let catalog = in_memory();
    assert_eq!(
        catalog.tenant("default_tenant").unwrap().resource_name,
        None
    );
    let database = catalog
        .database("default_tenant", "default_database")
        .unwrap();
    assert_eq!(database.id, Uuid::nil());
    assert_eq!(database.tenant, "default_tenant");
    assert_eq!(catalog.load().unwrap(), []);
}

#[test]
fn tenant_is_made_once_and_takes_a_resource_name() {
    let catalog = in_memory();
    refused(
        catalog.tenant("acme"),
        ErrorKind::NotFound,
        "Tenant [acme] not found",
    );
    catalog.create_tenant("acme").unwrap();
    refused(
        catalog.create_tenant("acme"),
        ErrorKind::AlreadyExists,
        "Tenant [acme] already exists",
    );
    catalog.update_tenant("acme", "first").unwrap();
    catalog.update_tenant("acme", "resource").unwrap();
    assert_eq!(
        catalog.tenant("acme").unwrap().resource_name.as_deref(),
        Some("resource")
    );
    catalog.update_tenant("missing", "resource").unwrap();
    refused(
        catalog.tenant("missing"),
        ErrorKind::NotFound,
        "Tenant [missing] not found",
    );
}

#[test]
fn databases_are_listed_by_name_in_pages_of_one_tenant() {
    let catalog = in_memory();
    for name in ["pear", "apple", "fig"] {
        catalog.create_database("no such tenant", name).unwrap();
    }
    catalog.create_database("other", "apple").unwrap();
    let names = |limit, offset| -> Vec<String> {
        let page = Page { limit, offset };
        let databases = catalog.databases("no such tenant", page).unwrap();
        databases
            .into_iter()
            .map(|database| database.name)
            .collect()
    };
    assert_eq!(names(None, 0), ["apple", "fig", "pear"]);
    assert_eq!(names(Some(1), 1), ["fig"]);
    assert_eq!(names(Some(0), 0), [""; 0]);
    assert_eq!(names(None, 2), ["pear"]);
    assert_eq!(names(Some(u32::MAX), u32::MAX), [""; 0]);
    assert_eq!(catalog.databases("missing", Page::default()).unwrap(), []);
}

#[test]
fn database_that_is_missing_or_taken_is_refused_in_the_words_clients_know() {
    let catalog = in_memory();
    let created = catalog.create_database("default_tenant", "second").unwrap();
    assert_eq!(
        catalog.database("default_tenant", "second").unwrap(),
        created
    );
    refused(
        catalog.create_database("default_tenant", "second"),
        ErrorKind::AlreadyExists,
        "Database [second] already exists",
    );
    refused(
        catalog.database("acme", "second"),
        ErrorKind::NotFound,
        "Database [second] not found. Are you sure it exists?",
    );
    refused(
        catalog.delete_database("default_tenant", "third"),
        ErrorKind::NotFound,
        "Database [third] not found",
    );
    refused(
        catalog.create_collection(
            id(1),
            &NewCollection {
                database: "third".into(),
                ..new("a")
            },
        ),
        ErrorKind::InvalidArgument,
        "Database [third] does not exist",
    );
}

#[test]
fn deleted_database_takes_its_collections_and_no_others_with_it() {
    let catalog = in_memory();
    catalog.create_database("default_tenant", "second").unwrap();
    let second = |name| NewCollection {
        database: "second".into(),
        ..new(name)
    };
    catalog.create_collection(id(1), &second("a")).unwrap();
    catalog.create_collection(id(2), &second("b")).unwrap();
    catalog.create_collection(id(3), &new("a")).unwrap();
    commit(&catalog, 1, vec![segment(1, b""), segment(2, b"")]).unwrap();
    assert_eq!(
        catalog.delete_database("default_tenant", "second").unwrap(),
        [id(1), id(2)]
    );
    let left = catalog.load().unwrap();
    assert_eq!(
        left.iter().map(|row| row.collection.id).collect::<Vec<_>>(),
        [id(3)]
    );
    catalog.verify().unwrap();
    assert_eq!(
        catalog
            .delete_database("default_tenant", "default_database")
            .unwrap(),
        [id(3)]
    );
    assert_eq!(catalog.load().unwrap(), []);
    catalog.verify().unwrap();
}

#[test]
fn collection_comes_back_as_it_was_made() {
    let catalog = in_memory();
    let made = catalog.create_collection(id(7), &new("seven")).unwrap();
    let without = NewCollection {
        metadata: Some(serde_json::Map::new()),
        ..new("empty")
    };
    let empty = catalog.create_collection(id(8), &without).unwrap();
    assert_eq!(empty.metadata, None);
    let loaded = catalog.load().unwrap();
    assert_eq!(loaded[0].collection, made);
    assert_eq!(loaded[0].manifest, Manifest::default());
    assert_eq!(loaded[1].collection, empty);
}

#[test]
fn collection_name_is_unique_in_its_database_only() {
    let catalog = in_memory();
    catalog.create_database("default_tenant", "second").unwrap();
    catalog.create_collection(id(1), &new("a")).unwrap();
    refused(
        catalog.create_collection(id(2), &new("a")),
        ErrorKind::AlreadyExists,
        "Collection [a] already exists",
    );
    let again = catalog.create_collection(id(1), &new("b")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let second = NewCollection {
        database: "second".into(),
        ..new("a")
    };
    catalog.create_collection(id(2), &second).unwrap();
}

#[test]
fn collection_update_changes_what_it_names_and_nothing_else() {
    let catalog = in_memory();
    let made = catalog.create_collection(id(1), &new("a")).unwrap();
    catalog.create_collection(id(2), &new("b")).unwrap();
    let stored = || catalog.load().unwrap()[0].collection.clone();

    catalog
        .update_collection(id(1), &CollectionUpdate::default())
        .unwrap();
    assert_eq!(stored(), made);
    let rename = |name: &str| CollectionUpdate {
        name: Some(name.into()),
        ..Default::default()
    };
    refused(
        catalog.update_collection(id(1), &rename("b")),
        ErrorKind::AlreadyExists,
        "Collection [b] already exists",
    );
    catalog.update_collection(id(1), &rename("a")).unwrap();
    catalog.update_collection(id(1), &rename("c")).unwrap();
    assert_eq!(
        (stored().name.as_str(), stored().metadata),
        ("c", made.metadata)
    );
    let empty = CollectionUpdate {
        metadata: Some(serde_json::Map::new()),
        ..Default::default()
    };
    catalog.update_collection(id(1), &empty).unwrap();
    assert_eq!((stored().name.as_str(), stored().metadata), ("c", None));
    refused(
        catalog.update_collection(id(9), &rename("d")),
        ErrorKind::NotFound,
        &format!("Collection [{}] does not exist.", id(9)),
    );
    catalog.verify().unwrap();
}

#[test]
fn deleted_collection_leaves_its_name_and_nothing_else() {
    let catalog = in_memory();
    catalog.create_collection(id(1), &new("a")).unwrap();
    commit(&catalog, 1, vec![segment(1, b"")]).unwrap();
    catalog.delete_collection(id(1)).unwrap();
    assert_eq!(
        catalog.delete_collection(id(1)).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    catalog.create_collection(id(2), &new("a")).unwrap();
    let loaded = catalog.load().unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].manifest, Manifest::default());
    catalog.verify().unwrap();
}

#[test]
fn reset_leaves_the_defaults_alone() {
    let catalog = in_memory();
    let before = answers(&catalog).unwrap();
    fill(&catalog, |_| ());
    catalog.reset().unwrap();
    assert_eq!(answers(&catalog).unwrap(), before);
    fill(&catalog, |_| ());
}
