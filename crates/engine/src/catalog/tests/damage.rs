//! Damage to the file and to its write-ahead log: found, or harmless.

use super::*;
use crate::catalog::wal;

/// A small generator, so that every run tries the same places.
struct Places(u64);

impl Places {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn folder_with(file: &[u8], log: Option<&[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    std::fs::write(&path, file).unwrap();
    if let Some(log) = log {
        std::fs::write(folder.path().join("catalog.sqlite-wal"), log).unwrap();
    }
    (folder, path)
}

fn read_answers(path: &Path) -> crate::Result<Answers> {
    Catalog::open_read_only(path).and_then(|catalog| answers(&catalog))
}

/// What the catalogue of these bytes answers, for its owner and for a reader: both the same, or
/// both damaged.
fn answers_of(file: &[u8], log: Option<&[u8]>) -> crate::Result<Answers> {
    let (_folder, path) = folder_with(file, log);
    let read = read_answers(&path);
    let owned = open(&path).and_then(|catalog| {
        let found = answers(&catalog)?;
        catalog.close()?;
        Ok(found)
    });
    if let (Ok(read), Ok(owned)) = (&read, &owned) {
        assert_eq!(read, owned);
    }
    owned
}

fn closed_file() -> (Vec<u8>, Answers) {
    let (folder, path) = folder_with(&[], None);
    let catalog = open(&path).unwrap();
    fill(&catalog, |_| ());
    let expected = answers(&catalog).unwrap();
    catalog.close().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    drop(folder);
    (bytes, expected)
}

/// File and log of a catalogue that was never closed, and its answers after each transaction with
/// the length of the log at that moment.
fn crashed_files() -> (Vec<u8>, Vec<u8>, Vec<(usize, Answers)>) {
    let (folder, path) = folder_with(&[], None);
    let log_path = folder.path().join("catalog.sqlite-wal");
    let catalog = open(&path).unwrap();
    // The first transaction starts the log again, over the frames of the opening.
    let mut states = Vec::new();
    fill(&catalog, |catalog| {
        let log = std::fs::read(&log_path).unwrap();
        let pages = wal::scan("", &log).unwrap().pages;
        states.push((pages.last().unwrap().1 + 4096, answers(catalog).unwrap()));
    });
    (
        std::fs::read(&path).unwrap(),
        std::fs::read(&log_path).unwrap(),
        states,
    )
}

#[test]
fn bit_flipped_in_a_closed_file_is_found_or_harmless() {
    let (mut bytes, expected) = closed_file();
    let mut places = Places(1);
    let everywhere = (0..1000)
        .map(|_| places.next(bytes.len() * 8))
        .collect::<Vec<_>>();
    let mut found = 0;
    for (number, bit) in (0..100 * 8).chain(everywhere).enumerate() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        // The owner of a file syncs it, which takes its time: it is asked now and then.
        let answers = if number % 20 == 0 {
            answers_of(&bytes, None)
        } else {
            let (_folder, path) = folder_with(&bytes, None);
            read_answers(&path)
        };
        match answers {
            Ok(answers) => assert_eq!(answers, expected, "bit {bit} changed the answers"),
            Err(error) => {
                assert!(
                    error.message().contains("catalog.sqlite"),
                    "bit {bit}: {error}"
                );
                assert_eq!(error.kind(), ErrorKind::Corrupted, "bit {bit}: {error}");
                found += 1;
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(found > 300, "{found}");
}

#[test]
fn closed_file_that_is_cut_is_found() {
    let (bytes, expected) = closed_file();
    for length in (1..bytes.len())
        .step_by(4999)
        .chain([100, 4096, 8192, bytes.len() - 1])
    {
        let answers = answers_of(&bytes[..length], None);
        let error = answers.expect_err(&format!("{length} bytes"));
        assert_eq!(
            error.kind(),
            ErrorKind::Corrupted,
            "{length} bytes: {error}"
        );
    }
    assert_eq!(answers_of(&bytes, None).unwrap(), expected);
}

#[test]
fn row_changed_behind_our_back_is_found() {
    let (bytes, _) = closed_file();
    for sql in [
        "UPDATE collection SET name = 'collection-X' WHERE name = 'collection-3'",
        "UPDATE segment SET row_count = row_count + 1 WHERE position = 0",
        "DELETE FROM tenant WHERE name = 'acme'",
        "INSERT INTO tenant SELECT 'acme2', resource_name, checksum FROM tenant WHERE name = 'acme'",
        "UPDATE digest SET row_count = row_count + 1 WHERE name = 'tenant'",
        "DELETE FROM digest WHERE name = 'segment'",
        "DROP INDEX segment_of_collection",
        "CREATE TABLE stranger (x)",
        "PRAGMA user_version = 0",
        "PRAGMA application_id = 5",
    ] {
        let (_folder, path) = folder_with(&bytes, None);
        let stranger = rusqlite::Connection::open(&path).unwrap();
        stranger.execute_batch(sql).unwrap();
        drop(stranger);
        let error = open(&path).err().expect(sql);
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{sql}: {error}");
    }
}

#[test]
fn file_of_another_program_or_of_no_program_is_left_alone() {
    let (_folder, path) = folder_with(b"not a database at all, just a text of some length", None);
    let error = open(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    let (_folder, path) = folder_with(&[], None);
    let stranger = rusqlite::Connection::open(&path).unwrap();
    stranger.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(stranger);
    let error = open(&path).err().unwrap();
    assert!(error.message().contains("another program"), "{error}");
}

#[test]
fn damaged_row_is_found_when_it_is_read_later() {
    let (folder, path) = folder_with(&[], None);
    let catalog = open(&path).unwrap();
    catalog.create_tenant("acme").unwrap();
    let change = |connection: &rusqlite::Connection| {
        Ok(connection.execute(
            "UPDATE tenant SET resource_name = 'x' WHERE name = 'acme'",
            [],
        )?)
    };
    catalog.read(change).unwrap();
    assert_eq!(
        catalog.tenant("acme").unwrap_err().kind(),
        ErrorKind::Corrupted
    );
    assert_eq!(catalog.verify().unwrap_err().kind(), ErrorKind::Corrupted);
    drop(folder);
}

#[test]
fn log_cut_anywhere_gives_the_last_transaction_that_is_whole() {
    let (file, log, states) = crashed_files();
    let mut before = None;
    let empty = {
        let catalog = in_memory();
        answers(&catalog).unwrap()
    };
    for (at, (end, _)) in states.iter().enumerate() {
        let begin = before.unwrap_or(wal::HEADER_BYTES);
        before = Some(*end);
        for cut in [begin, begin + 1, begin + 24, begin + 600, end - 1] {
            let expected = if at == 0 { &empty } else { &states[at - 1].1 };
            let found = answers_of(&file, Some(&log[..cut])).unwrap();
            assert_eq!(found, *expected, "cut at {cut} of {}", log.len());
        }
    }
    assert_eq!(
        answers_of(&file, Some(&log)).unwrap(),
        states.last().unwrap().1
    );
}

#[test]
fn bit_flipped_in_the_log_never_drops_more_than_the_last_transaction() {
    let (file, mut log, states) = crashed_files();
    let (_, expected) = states.last().unwrap();
    let (last_begin, previous) = &states[states.len() - 2];
    let end = states.last().unwrap().0;
    let mut places = Places(2);
    let header = (0..wal::HEADER_BYTES * 8).collect::<Vec<_>>();
    let last_headers =
        (0..24 * 8).flat_map(|bit| [(last_begin - 4120) * 8 + bit, last_begin * 8 + bit]);
    let everywhere = (0..800)
        .map(|_| places.next(log.len() * 8))
        .collect::<Vec<_>>();
    let mut found = 0;
    for bit in header.into_iter().chain(last_headers).chain(everywhere) {
        let at = bit / 8;
        log[at] ^= 1 << (bit % 8);
        match answers_of(&file, Some(&log)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupted, "bit {bit}: {error}");
                found += 1;
            }
            Ok(answers) if (*last_begin..end).contains(&at) => {
                assert!(answers == *expected || answers == *previous, "bit {bit}");
            }
            Ok(answers) => {
                assert!(at >= end, "bit {bit} of byte {at} was passed over");
                assert_eq!(answers, *expected, "bit {bit}");
            }
        }
        log[at] ^= 1 << (bit % 8);
    }
    assert!(found > 200, "{found}");
}

#[test]
fn lost_log_is_noticed_and_so_is_a_lost_file() {
    let (file, log, _) = crashed_files();
    for log in [None, Some(&[][..]), Some(&log[..20])] {
        let error = answers_of(&file, log).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.message().contains("-wal"), "{error}");
    }
    let (folder, path) = folder_with(&[], Some(&log));
    assert_eq!(open(&path).err().unwrap().kind(), ErrorKind::Corrupted);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(open(&path).err().unwrap().kind(), ErrorKind::Corrupted);
    drop(folder);
}

#[test]
fn damaged_image_in_memory_is_found_or_harmless() {
    let images = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let kept = images.clone();
    let on_commit: std::sync::Arc<dyn Fn(Vec<u8>) + Send + Sync> =
        std::sync::Arc::new(move |image| *kept.lock() = image);
    let location = CatalogLocation::Memory {
        image: None,
        on_commit: Some(on_commit),
    };
    let catalog = Catalog::open(&location).unwrap();
    fill(&catalog, |_| ());
    let expected = answers(&catalog).unwrap();
    let mut bytes = images.lock().clone();
    let mut places = Places(3);
    for _ in 0..500 {
        let bit = places.next(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let image = Some(std::sync::Arc::new(bytes.clone()));
        let location = CatalogLocation::Memory {
            image,
            on_commit: None,
        };
        if let Ok(answers) = Catalog::open(&location).and_then(|catalog| answers(&catalog)) {
            assert_eq!(answers, expected, "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn an_open_catalogue_needs_no_file_but_its_own_and_its_log() {
    let (folder, path) = folder_with(&[], None);
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // The first time the file is made, the second time it is found as a crash leaves it.
    for _ in 0..2 {
        let catalog = open(&path).unwrap();
        assert_eq!(names(), ["catalog.sqlite", "catalog.sqlite-wal"]);
        drop(catalog);
    }
}
