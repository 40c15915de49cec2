//! A segment is durable when it is written, or it is not there at all.

use super::sample::{FOLDER, all, ascending, error};
use super::shelf::Shelf;
use crate::ErrorKind;
use crate::model::Space;
use crate::segments::{Segment, write_segment};

#[test]
fn all_files_and_folders_are_durable_before_the_call_returns() {
    let shelf = Shelf::default();
    write_segment(
        &shelf,
        FOLDER,
        &[all(ascending(1, 200))],
        Space::L2,
        &|| true,
    )
    .unwrap();
    let state = shelf.0.lock();
    assert_eq!(state.files.len(), 5);
    for (path, bytes) in &state.files {
        assert_eq!(state.durable.get(path), Some(&bytes.len()), "{path}");
    }
    let folders: Vec<&str> = state
        .syncs
        .iter()
        .rev()
        .take(4)
        .rev()
        .map(String::as_str)
        .collect();
    let expected = [
        "segments/collection/segment/",
        "segments/collection/",
        "segments/",
        "/",
    ];
    assert_eq!(folders, expected);
    assert!(state.syncs[state.syncs.len() - 5].ends_with("toc.bin"));
}

#[test]
fn a_failure_at_any_call_is_passed_on_and_leaves_nothing() {
    let source = all(ascending(2, 200));
    let shelf = Shelf::default();
    write_segment(
        &shelf,
        FOLDER,
        std::slice::from_ref(&source),
        Space::L2,
        &|| true,
    )
    .unwrap();
    let calls = shelf.0.lock().calls;
    assert!(calls > 15);
    for failing in 0..calls {
        let shelf = Shelf::default();
        shelf.0.lock().fail_after = Some(failing);
        let written = write_segment(
            &shelf,
            FOLDER,
            std::slice::from_ref(&source),
            Space::L2,
            &|| true,
        );
        let error = error(written);
        assert_eq!(
            error.kind(),
            ErrorKind::OutOfSpace,
            "call {failing}: {error}"
        );
        let state = shelf.0.lock();
        assert!(
            state.files.is_empty() && state.folders.is_empty(),
            "call {failing}"
        );
    }
}

#[test]
fn asked_to_stop_it_ends_as_busy_and_leaves_nothing() {
    let source = all(ascending(3, 5000));
    for questions in 0..6 {
        let shelf = Shelf::default();
        let left = std::cell::Cell::new(questions);
        let go_on = || left.replace(left.get() - 1) > 0;
        let written = write_segment(
            &shelf,
            FOLDER,
            std::slice::from_ref(&source),
            Space::L2,
            &go_on,
        );
        assert_eq!(error(written).kind(), ErrorKind::Busy);
        assert!(shelf.0.lock().files.is_empty());
    }
}

#[test]
fn a_folder_that_exists_is_left_as_it_is() {
    let shelf = Shelf::default();
    let source = [all(ascending(4, 20))];
    let summary = write_segment(&shelf, FOLDER, &source, Space::L2, &|| true).unwrap();
    let again = write_segment(&shelf, FOLDER, &source, Space::L2, &|| true);
    assert_eq!(error(again).kind(), ErrorKind::AlreadyExists);
    Segment::open(&shelf, FOLDER, summary.toc_checksum).unwrap();
}
