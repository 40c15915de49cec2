//! Opening again, images in memory, reading without a trace, a full disk.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn everything_is_there_after_close_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    fill(&catalog, |_| ());
    let expected = answers(&catalog).unwrap();
    // Dropped without being closed, it leaves what a crash leaves.
    drop(catalog);
    assert_eq!(files(folder.path()).len(), 2);
    let catalog = open(&path).unwrap();
    assert_eq!(answers(&catalog).unwrap(), expected);
    catalog.close().unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(answers(&open(&path).unwrap()).unwrap(), expected);
}

#[test]
fn closed_catalogue_says_so_and_closes_again_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&folder.path().join("catalog.sqlite")).unwrap();
    catalog.close().unwrap();
    catalog.close().unwrap();
    assert_eq!(catalog.load().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        catalog.create_tenant("acme").unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(catalog.verify().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn second_owner_of_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let first = open(&path).unwrap();
    let error = open(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.message().contains("catalog.sqlite"), "{error}");
    first.create_tenant("acme").unwrap();
    first.verify().unwrap();
}

#[test]
fn folder_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("missing/catalog.sqlite"))
        .err()
        .unwrap();
    assert!(
        error.message().contains("missing/catalog.sqlite"),
        "{error}"
    );
}

#[test]
fn image_of_each_commit_opens_to_the_state_of_that_commit() {
    let images: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = images.clone();
    let catalog = Catalog::open(&CatalogLocation::Memory {
        image: None,
        on_commit: Some(Arc::new(move |image| kept.lock().push(image))),
    })
    .unwrap();
    let mut expected = vec![answers(&catalog).unwrap()];
    fill(&catalog, |catalog| expected.push(answers(catalog).unwrap()));
    let images = images.lock();
    assert_eq!(images.len(), expected.len());
    for (image, expected) in images.iter().zip(&expected) {
        let location = CatalogLocation::Memory {
            image: Some(Arc::new(image.clone())),
            on_commit: None,
        };
        let catalog = Catalog::open(&location).unwrap();
        assert_eq!(answers(&catalog).unwrap(), *expected);
        catalog.create_tenant("afterwards").unwrap();
        catalog.verify().unwrap();
    }
}

#[test]
fn failed_change_hands_out_no_image() {
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    let on_commit: Arc<dyn Fn(Vec<u8>) + Send + Sync> = Arc::new(move |_| *counted.lock() += 1);
    let location = CatalogLocation::Memory {
        image: None,
        on_commit: Some(on_commit),
    };
    let catalog = Catalog::open(&location).unwrap();
    assert_eq!(*count.lock(), 1);
    catalog.create_tenant("default_tenant").unwrap_err();
    assert_eq!(*count.lock(), 1);
}

#[test]
fn reader_sees_the_last_commit_of_a_running_owner_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let error = Catalog::open_read_only(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let catalog = open(&path).unwrap();
    fill(&catalog, |catalog| {
        let before = files(folder.path());
        let reader = Catalog::open_read_only(&path).unwrap();
        assert_eq!(answers(&reader).unwrap(), answers(catalog).unwrap());
        let error = reader.create_tenant("new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        reader.close().unwrap();
        assert_eq!(files(folder.path()), before);
    });
    let expected = answers(&catalog).unwrap();
    catalog.close().unwrap();
    let before = files(folder.path());
    assert_eq!(
        answers(&Catalog::open_read_only(&path).unwrap()).unwrap(),
        expected
    );
    assert_eq!(files(folder.path()), before);
}

#[test]
fn full_disk_refuses_a_change_and_takes_it_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    let limit_pages = |pages: i64| {
        let pragma = |connection: &rusqlite::Connection| {
            let set = format!("PRAGMA max_page_count = {pages}");
            Ok(connection.query_row(&set, [], |row| row.get::<_, i64>(0))?)
        };
        catalog.read(pragma).unwrap()
    };
    let pages = limit_pages(1);
    let mut number = 0;
    let error = loop {
        number += 1;
        if let Err(error) = catalog.create_collection(id(number), &new(&format!("c{number}"))) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    let before = answers(&catalog).unwrap();
    assert_eq!(before.collections.len() as u128, number - 1);
    limit_pages(pages + 1000);
    catalog
        .create_collection(id(number), &new(&format!("c{number}")))
        .unwrap();
    let expected = answers(&catalog).unwrap();
    assert_eq!(expected.collections.len() as u128, number);
    drop(catalog);
    assert_eq!(answers(&open(&path).unwrap()).unwrap(), expected);
}

#[test]
fn closing_gives_the_space_of_deleted_collections_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    catalog.create_collection(id(1), &new("a")).unwrap();
    commit(
        &catalog,
        1,
        (1..=40)
            .map(|number| segment(number, &vec![3; 60_000]))
            .collect(),
    )
    .unwrap();
    commit(&catalog, 2, vec![]).unwrap();
    let expected = answers(&catalog).unwrap();
    catalog.close().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 200_000);
    assert_eq!(answers(&open(&path).unwrap()).unwrap(), expected);
}
