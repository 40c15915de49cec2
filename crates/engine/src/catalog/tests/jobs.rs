//! Jobs and their runs; and the way of a catalogue of the first version to today's.

use super::*;
use crate::catalog::tables::{Table, digest_checksum};
use crate::catalog::{JobRow, JobRunRow};

fn job(name: &str, next_at: Option<i64>) -> JobRow {
    JobRow {
        name: name.into(),
        spec: format!("{{\"task\": \"{name}\"}}"),
        paused: next_at.is_none(),
        next_at,
        last_at: next_at.map(|at| at - 60_000),
        retry_attempt: 2,
        retry_at: Some(-5),
        retry_for: None,
    }
}

fn run(id: u64, job: &str) -> JobRunRow {
    JobRunRow {
        id,
        job: job.into(),
        run: format!("run {id}"),
    }
}

fn ids(catalog: &Catalog, job: Option<&str>, limit: u32) -> Vec<u64> {
    let runs = catalog.job_runs(job, limit).unwrap();
    runs.into_iter().map(|run| run.id).collect()
}

#[test]
fn jobs_and_their_newest_runs_outlive_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    let jobs = [job("a", Some(100)), job("b", None)];
    catalog.put_jobs(&jobs).unwrap();
    let later = job("a", Some(200));
    for id in 1..=5 {
        catalog.note_run(Some(&later), &run(id, "a"), 3).unwrap();
    }
    catalog.note_run(None, &run(6, "gone"), 3).unwrap();
    let look = |catalog: &Catalog| {
        assert_eq!(catalog.jobs().unwrap(), [later.clone(), jobs[1].clone()]);
        assert_eq!(ids(catalog, Some("a"), 10), [5, 4, 3]);
        assert_eq!(ids(catalog, Some("a"), 2), [5, 4]);
        assert_eq!(ids(catalog, None, 2), [6, 5]);
        assert_eq!(catalog.last_job_run().unwrap(), 6);
        catalog.verify().unwrap();
    };
    look(&catalog);
    catalog.close().unwrap();
    let catalog = open(&path).unwrap();
    look(&catalog);
    assert!(catalog.remove_job("a").unwrap());
    assert!(!catalog.remove_job("a").unwrap());
    assert_eq!(catalog.jobs().unwrap(), [jobs[1].clone()]);
    assert_eq!(ids(&catalog, None, 9), [6]);
    catalog.verify().unwrap();
}

/// Makes a closed catalogue what the first release would have written.
fn to_first_version(path: &Path) {
    let stranger = rusqlite::Connection::open(path).unwrap();
    stranger
        .execute_batch(
            "DROP TABLE job; DROP TABLE job_run; DROP TABLE borrowed_segment; DROP TABLE origin;\
             DROP TABLE document; \
             PRAGMA user_version = 1;",
        )
        .unwrap();
    for table in Table::ALL {
        let name = table.name();
        let digest = stranger.query_row(
            "SELECT row_count, joined FROM digest WHERE name = ?1",
            [name],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        );
        if let Ok((rows, joined)) = digest {
            let checksum = digest_checksum(1, name, rows, joined) as i64;
            stranger
                .execute(
                    "UPDATE digest SET checksum = ?1 WHERE name = ?2",
                    rusqlite::params![checksum, name],
                )
                .unwrap();
        }
    }
}

#[test]
fn catalogue_of_the_first_version_opens_with_all_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    fill(&catalog, |_| ());
    let expected = answers(&catalog).unwrap();
    catalog.close().unwrap();
    to_first_version(&path);
    let before = std::fs::read(&path).unwrap();
    let reader = Catalog::open_read_only(&path).unwrap();
    assert_eq!(answers(&reader).unwrap(), expected);
    assert_eq!(
        std::fs::read(&path).unwrap(),
        before,
        "a reader changes nothing"
    );
    let catalog = open(&path).unwrap();
    assert_eq!(answers(&catalog).unwrap(), expected);
    catalog.put_jobs(&[job("a", Some(1))]).unwrap();
    catalog.close().unwrap();
    let catalog = open(&path).unwrap();
    assert_eq!(answers(&catalog).unwrap(), expected);
    assert_eq!(catalog.jobs().unwrap().len(), 1);
}

#[test]
fn damage_in_a_catalogue_of_the_first_version_is_found_before_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.sqlite");
    let catalog = open(&path).unwrap();
    fill(&catalog, |_| ());
    catalog.close().unwrap();
    to_first_version(&path);
    let stranger = rusqlite::Connection::open(&path).unwrap();
    stranger
        .execute("UPDATE tenant SET resource_name = 'x'", [])
        .unwrap();
    drop(stranger);
    let error = open(&path).err().expect("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    let version: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
}
