//! One conformance suite over the disk, memory and the storages of the simulation, and what a
//! power cut may and may not take.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;

use super::sim::{Fault, FaultyStorage, RecordingStorage, Survival};
use super::*;
use crate::ErrorKind;

/// Runs `check` over each kind of storage, each empty.
fn on_every_storage(check: impl Fn(&dyn Storage)) {
    let folder = tempfile::tempdir().unwrap();
    check(&DiskStorage::open(folder.path()).unwrap());
    check(&MemoryStorage::default());
    check(&RecordingStorage::default());
    check(&FaultyStorage::new(Arc::new(MemoryStorage::default())));
}

fn write(storage: &dyn Storage, path: &str, bytes: &[u8]) {
    storage.create(path).unwrap().write(&[bytes]).unwrap();
}

fn kind<T>(result: crate::Result<T>) -> ErrorKind {
    result.err().expect("the call is refused").kind()
}

#[test]
fn what_is_appended_is_read_back_whole_in_part_and_mapped() {
    on_every_storage(|storage| {
        storage.create_dir("a/b").unwrap();
        let mut file = storage.create("a/b/f").unwrap();
        file.write(&[b"he", b"", b"llo"]).unwrap();
        file.sync().unwrap();
        assert_eq!(file.bytes(), 5);
        let mut again = storage.append("a/b/f").unwrap();
        assert_eq!(again.bytes(), 5);
        again.write(&[b" you"]).unwrap();
        assert_eq!(storage.read("a/b/f").unwrap(), b"hello you");
        assert_eq!(storage.read_at("a/b/f", 6, 2).unwrap(), b"yo");
        assert_eq!(storage.read_at("a/b/f", 6, 99).unwrap(), b"you");
        assert_eq!(storage.read_at("a/b/f", 99, 2).unwrap(), b"");
        assert_eq!(&storage.map("a/b/f").unwrap()[..], b"hello you");
        write(storage, "empty", b"");
        assert!(storage.map("empty").unwrap().is_empty());
    });
}

#[test]
fn a_cut_file_is_written_on_from_the_cut() {
    on_every_storage(|storage| {
        let mut file = storage.create("f").unwrap();
        file.write(&[b"0123456789"]).unwrap();
        file.truncate(4).unwrap();
        assert_eq!(file.bytes(), 4);
        file.write(&[b"ab"]).unwrap();
        file.sync().unwrap();
        assert_eq!(storage.read("f").unwrap(), b"0123ab");
    });
}

#[test]
fn a_file_is_written_over_from_its_beginning_and_what_is_not_written_over_stays() {
    on_every_storage(|storage| {
        write(storage, "f", b"0123456789");
        let mut file = storage.reuse("f").unwrap();
        assert_eq!(file.bytes(), 0);
        file.write(&[b"ab", b"cd"]).unwrap();
        file.sync().unwrap();
        assert_eq!(
            (file.bytes(), storage.read("f").unwrap()),
            (4, b"abcd456789".to_vec())
        );
        file.write(&[b"efghijk"]).unwrap();
        assert_eq!(
            (file.bytes(), storage.read("f").unwrap()),
            (11, b"abcdefghijk".to_vec())
        );
        let mut file = storage.reuse("f").unwrap();
        file.write(&[b"XY"]).unwrap();
        storage.rename("f", "g").unwrap();
        file.truncate(3).unwrap();
        file.write(&[b"Z"]).unwrap();
        assert_eq!(
            (file.bytes(), storage.read("g").unwrap()),
            (4, b"XYcZ".to_vec())
        );
        assert_eq!(kind(storage.reuse("f")), ErrorKind::NotFound);
    });
}

#[test]
fn a_power_cut_leaves_old_or_new_sectors_of_a_file_that_is_written_over() {
    let storage = RecordingStorage::default();
    let (old, new) = (vec![1; 4096], vec![2; 3000]);
    let mut file = storage.create("f").unwrap();
    file.write(&[&old]).unwrap();
    file.sync().unwrap();
    storage.sync_dir("").unwrap();
    storage.reuse("f").unwrap().write(&[&new]).unwrap();
    let trace = storage.trace();
    assert_eq!(trace.reuses(), 1);
    let left = |survival, seed| {
        let left = trace.rebuild(trace.len(), survival, seed).unwrap();
        left.storage.read("f").unwrap()
    };
    assert_eq!(left(Survival::Nothing, 0), old);
    assert_eq!(left(Survival::All, 0), [&new[..], &old[3000..]].concat());
    let mut mixed = 0;
    for seed in 0..50 {
        let found = left(Survival::Scattered, seed);
        assert_eq!(found[3000..], old[3000..]);
        for sector in found.chunks(512) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]) || sector[512 - 72..] == old[..72]
            );
        }
        mixed += usize::from(found[..3000].contains(&1) && found[..3000].contains(&2));
    }
    assert!(mixed > 25, "{mixed} states are of both");
}

#[test]
fn a_name_is_taken_once() {
    on_every_storage(|storage| {
        write(storage, "f", b"1");
        assert_eq!(kind(storage.create("f")), ErrorKind::AlreadyExists);
        storage.create_dir("d").unwrap();
        storage.create_dir("d").unwrap();
        assert_eq!(storage.read("f").unwrap(), b"1");
    });
}

#[test]
fn what_is_missing_is_not_found_by_name_and_fine_to_remove() {
    on_every_storage(|storage| {
        assert_eq!(kind(storage.append("x/y")), ErrorKind::NotFound);
        assert_eq!(kind(storage.create("x/y")), ErrorKind::NotFound);
        assert_eq!(kind(storage.map("y")), ErrorKind::NotFound);
        assert_eq!(kind(storage.read("y")), ErrorKind::NotFound);
        assert_eq!(kind(storage.read_at("y", 0, 1)), ErrorKind::NotFound);
        assert_eq!(kind(storage.list("x")), ErrorKind::NotFound);
        assert_eq!(kind(storage.sync_dir("x")), ErrorKind::NotFound);
        assert_eq!(kind(storage.rename("y", "z")), ErrorKind::NotFound);
        storage.remove_file("y").unwrap();
        storage.remove_dir("x").unwrap();
        assert!(!storage.exists("y").unwrap());
        let error = storage.read("some/where").unwrap_err();
        assert!(error.message().contains("some/where"), "{error}");
    });
}

#[test]
fn a_folder_lists_what_is_directly_in_it_by_name() {
    on_every_storage(|storage| {
        storage.create_dir("d/inner").unwrap();
        write(storage, "d/b", b"12");
        write(storage, "d/a", b"1");
        write(storage, "d/inner/c", b"1");
        write(storage, "d2", b"1");
        let names: Vec<(String, u64, bool)> = storage
            .list("d")
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.bytes, entry.is_dir))
            .collect();
        let expected = [("a", 1, false), ("b", 2, false), ("inner", 0, true)];
        assert_eq!(names, expected.map(|(n, b, d)| (n.to_owned(), b, d)));
        storage.remove_dir("d").unwrap();
        assert!(!storage.exists("d/inner/c").unwrap());
        assert!(storage.exists("d2").unwrap());
    });
}

#[test]
fn a_rename_replaces_and_keeps_what_is_open_readable() {
    on_every_storage(|storage| {
        write(storage, "new", b"new");
        write(storage, "old", b"old");
        let before = storage.map("old").unwrap();
        storage.rename("new", "old").unwrap();
        storage.sync_dir("").unwrap();
        assert_eq!(&before[..], b"old");
        assert_eq!(storage.read("old").unwrap(), b"new");
        assert!(!storage.exists("new").unwrap());
        storage.create_dir("d").unwrap();
        write(storage, "d/f", b"f");
        storage.rename("d", "e").unwrap();
        assert_eq!(storage.read("e/f").unwrap(), b"f");
        assert!(!storage.exists("d/f").unwrap());
    });
}

#[test]
fn no_path_leads_out_of_the_folder() {
    on_every_storage(|storage| {
        for path in ["../x", "/etc/passwd", "a//b", "a/./b", "a/..", "a/", "a\0b"] {
            assert_eq!(kind(storage.create(path)), ErrorKind::InvalidArgument);
            assert_eq!(kind(storage.read(path)), ErrorKind::InvalidArgument);
            assert_eq!(kind(storage.remove_dir(path)), ErrorKind::InvalidArgument);
        }
        assert_eq!(kind(storage.remove_dir("")), ErrorKind::InvalidArgument);
    });
}

/// A file synced in a synced folder, then a second write, a cut, and names nobody synced.
fn eventful() -> RecordingStorage {
    let storage = RecordingStorage::default();
    storage.create_dir("d").unwrap();
    storage.sync_dir("").unwrap();
    let mut file = storage.create("d/f").unwrap();
    file.write(&[&[1; 1000]]).unwrap();
    file.sync().unwrap();
    storage.sync_dir("d").unwrap();
    storage.mark("durable");
    file.write(&[&[2; 3000]]).unwrap();
    write(&storage, "d/g", &[3; 10]);
    storage.rename("d/f", "d/h").unwrap();
    storage
}

#[test]
fn a_killed_process_loses_nothing() {
    let storage = eventful();
    let trace = storage.trace();
    let rebuilt = trace.rebuild(trace.len(), Survival::All, 1).unwrap();
    assert_eq!(rebuilt.storage.files().len(), 2);
    assert_eq!(
        rebuilt.storage.read("d/h").unwrap(),
        storage.read("d/h").unwrap()
    );
    assert_eq!(rebuilt.marks.len(), 1);
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let trace = eventful().trace();
    let rebuilt = trace.rebuild(trace.len(), Survival::Nothing, 1).unwrap();
    let files = rebuilt.storage.files();
    assert_eq!(files, [("d/f".to_owned(), vec![1; 1000])]);
    let before = trace.rebuild(3, Survival::Nothing, 1).unwrap();
    assert!(
        before.storage.files().is_empty(),
        "no name without sync_dir"
    );
}

#[test]
fn every_state_keeps_what_was_synced_and_many_states_differ() {
    let trace = eventful().trace();
    let mut seen = std::collections::BTreeSet::new();
    for survival in [Survival::Prefix, Survival::Scattered, Survival::Mixed] {
        for seed in 0..200 {
            let rebuilt = trace.rebuild(trace.len(), survival, seed).unwrap();
            let files = rebuilt.storage.files();
            let (_, bytes) = files
                .iter()
                .find(|(path, _)| path == "d/f" || path == "d/h")
                .expect("the synced file has one of its names");
            assert_eq!(bytes[..1000], [1; 1000], "synced bytes stay");
            for sector in bytes.chunks(512).skip(2) {
                assert!(sector.windows(2).all(|pair| pair[0] == pair[1]));
            }
            seen.insert(files);
        }
    }
    assert!(seen.len() > 50, "only {} states", seen.len());
}

#[test]
fn the_same_seed_builds_the_same_state() {
    let trace = eventful().trace();
    for seed in 0..20 {
        let build = || trace.rebuild(trace.len(), Survival::Mixed, seed).unwrap();
        assert_eq!(build().storage.files(), build().storage.files());
    }
}

#[test]
fn a_recording_goes_on_from_a_rebuilt_folder() {
    let first = eventful().trace();
    let base = first.rebuild(first.len(), Survival::All, 0).unwrap();
    let second = RecordingStorage::starting_from(&base.storage).unwrap();
    second.append("d/h").unwrap().write(&[b"more"]).unwrap();
    let trace = second.trace();
    let rebuilt = trace.rebuild(trace.len(), Survival::Nothing, 0).unwrap();
    assert_eq!(rebuilt.storage.files(), base.storage.files());
    let rebuilt = trace.rebuild(trace.len(), Survival::All, 0).unwrap();
    assert_eq!(rebuilt.storage.files(), second_files(&second));
}

fn second_files(storage: &RecordingStorage) -> Vec<(String, Vec<u8>)> {
    ["d/g", "d/h"]
        .map(|path| (path.to_owned(), storage.read(path).unwrap()))
        .to_vec()
}

#[test]
fn faults_hit_the_call_they_are_meant_for_and_heal() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::default()));
    let mut file = storage.create("f").unwrap();
    storage.fail_once(Fault::OutOfSpace, 2);
    file.write(&[b"a"]).unwrap();
    assert_eq!(kind(file.write(&[b"b"])), ErrorKind::OutOfSpace);
    file.write(&[b"c"]).unwrap();
    storage.fail_from(Fault::FailingSync, 1);
    assert_eq!(kind(file.sync()), ErrorKind::Internal);
    file.write(&[b"d"]).unwrap();
    assert_eq!(kind(file.sync()), ErrorKind::Internal);
    storage.heal();
    file.sync().unwrap();
    storage.fail_once(Fault::ShortWrite, 1);
    assert_eq!(kind(file.write(&[b"12", b"34"])), ErrorKind::OutOfSpace);
    assert_eq!(storage.read("f").unwrap(), b"acd12");
    storage.set_free_bytes(7);
    assert_eq!(storage.free_bytes().unwrap(), 7);
    assert_eq!(storage.failed(), 4);
}
