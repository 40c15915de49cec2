//! Backups over HTTP: made while the server runs, restored beside it, refused where they may not be.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use vermilion_engine::backup::{Folder, Folders, Target, restore};
use vermilion_engine::model::{CollectionScope, SeqId};
use vermilion_engine::{Config, Database};

use crate::harness::TestServer;

const ROUTE: &str = "/control/v1/backups";

/// A server that makes backups in folders of `shelf`.
fn server_with(shelf: &Path) -> TestServer {
    let mut config = Config::in_memory();
    config.backups = Some(Arc::new(Folders::of(shelf.to_owned())));
    TestServer::over(config, |_| {})
}

#[test]
fn a_backup_is_made_beside_writes_and_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = folder.path().join("shelf");
    let server = server_with(&shelf);
    let path = server.collection("things");
    let add = |id: &str| {
        let body = json!({"ids": [id], "embeddings": [[1, 2]], "documents": [id]});
        assert_eq!(server.post(&format!("{path}/add"), &body).status, 201);
    };
    add("a");
    let made = server.post(ROUTE, &json!({"destination": "nightly", "kind": "full"}));
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(
        (&made.json()["kind"], &made.json()["number"]),
        (&json!("full"), &json!(1))
    );
    add("b");
    add("c");
    let made = server
        .post(ROUTE, &json!({"destination": "nightly"}))
        .json();
    assert_eq!(
        (&made["kind"], &made["continues"]),
        (&json!("incremental"), &json!(1))
    );
    assert_eq!(
        (&made["log_batches"], &made["reason"]),
        (&json!(2), &json!(null))
    );
    let source = Folder::open_read_only(&shelf.join("nightly")).unwrap();
    let restored = folder.path().join("restored");
    let target = Target::Seqs(vec![("things".to_owned(), SeqId(2))]);
    restore(&source, &restored, &target, &mut |_| {}).unwrap();
    let database = Database::open(Config::at(&restored).unwrap()).unwrap();
    let found = database
        .collection("default_tenant", "default_database", "things")
        .unwrap();
    let scope = CollectionScope {
        tenant: "default_tenant",
        database: "default_database",
        id: found.id,
    };
    assert_eq!(database.count(scope).unwrap(), 2);
}

#[test]
fn backups_are_refused_where_no_folder_is_set_or_a_name_leads_out_of_it() {
    let server = TestServer::start();
    let body = json!({"destination": "nightly"});
    let refused = server.post(ROUTE, &body);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("backup_folder"));
    let folder = tempfile::tempdir().unwrap();
    let shelf = folder.path().join("shelf");
    let server = server_with(&shelf);
    for name in ["../out", "/tmp/out", "..", "a/b", ""] {
        let refused = server.post(ROUTE, &json!({"destination": name}));
        refused.fails(400, "InvalidArgumentError", "is no name of a folder");
    }
    assert!(!shelf.exists(), "a refused backup makes no folder");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_collection_of_a_backup_comes_back_under_a_free_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::at(folder.path().join("data")).unwrap();
    config.backups = Some(Arc::new(Folders::of(folder.path().join("shelf"))));
    let server = TestServer::over(config, |_| {});
    let path = server.collection("things");
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]]});
    assert_eq!(server.post(&format!("{path}/add"), &body).status, 201);
    let made = server.post(ROUTE, &json!({"destination": "nightly", "kind": "full"}));
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(
        server
            .post(&format!("{path}/delete"), &json!({"ids": ["a"]}))
            .status,
        200
    );

    let restores = "/control/v1/restores";
    let plain = json!({"destination": "nightly", "collection": "things"});
    let taken = server.post(restores, &plain);
    taken.fails(409, "ChromaError", "another name");
    let mut asked = plain.clone();
    asked["name"] = json!("things-before");
    let told = server.post(restores, &asked);
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json();
    assert_eq!(
        (&told["records"], &told["last_seq_id"]),
        (&json!(2), &json!(2))
    );
    let found = server.post(
        &format!(
            "{}/get",
            path.replace(
                path.rsplit('/').next().unwrap(),
                told["id"].as_str().unwrap()
            )
        ),
        &json!({}),
    );
    assert_eq!(found.json()["ids"], json!(["a", "b"]));
    asked["to_seq_id"] = json!(9);
    asked["name"] = json!("things-later");
    server
        .post(restores, &asked)
        .fails(400, "InvalidArgumentError", "the backups hold");
    let nowhere = TestServer::start().post(restores, &plain);
    assert_eq!(nowhere.status, 403, "{}", nowhere.text());
}
