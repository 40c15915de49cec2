//! The API, route by route.

use serde_json::{Value, json};

use crate::harness::{DATABASE, TestServer};

#[test]
fn system_routes_answer_what_clients_expect() {
    let server = TestServer::start();
    let heartbeat = server.get("/api/v2/heartbeat").json();
    assert!(heartbeat["nanosecond heartbeat"].as_u64().unwrap() > 1_600_000_000_000_000_000);
    assert_eq!(server.get("/api/v2").status, 200);
    server.get("/api/v2/healthcheck").is(
        200,
        r#"{"is_executor_ready":true,"is_log_client_ready":true}"#,
    );
    server.get("/api/v2/pre-flight-checks").is(
        200,
        r#"{"max_batch_size":100000,"supports_base64_encoding":true}"#,
    );
    assert_eq!(
        server.get("/api/v2/auth/identity").json(),
        json!({"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]})
    );
    let version = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    server.get("/api/v2/version").is(200, version);
    server.get("/healthz").is(200, r#"{"status":"ok"}"#);
    assert_eq!(server.get("/readyz").json()["ready"], true);
}

#[test]
fn unknown_paths_and_methods_of_chroma_have_empty_bodies_and_the_first_version_is_gone() {
    let server = TestServer::start();
    server.get("/nope").is(404, "");
    server.get("/api/v2/heartbeat/").is(404, "");
    let wrong = server.send("DELETE", "/api/v2/heartbeat", None);
    wrong.is(405, "");
    assert!(wrong.header("allow").unwrap().contains("GET"));
    for method in ["GET", "POST"] {
        let gone = server.send(method, "/api/v1/collections", None);
        gone.fails(
            410,
            "Unimplemented",
            "The v1 API is deprecated. Please use /v2 apis",
        );
    }
}

#[test]
fn tenants_and_databases_are_made_found_and_deleted() {
    let server = TestServer::start();
    let tenants = "/api/v2/tenants";
    server
        .post(tenants, &json!({"name": "ten a/b"}))
        .is(200, "{}");
    server
        .post(tenants, &json!({"name": "ten a/b"}))
        .fails(409, "ChromaError", "already exists");
    server
        .post(tenants, &json!({"name": "ab"}))
        .fails(400, "InvalidArgumentError", "length");
    server
        .get("/api/v2/tenants/ten%20a%2Fb")
        .is(200, r#"{"name":"ten a/b","resource_name":null}"#);
    server
        .get("/api/v2/tenants/nobody")
        .fails(404, "NotFoundError", "Tenant [nobody] not found");
    let patch = json!({"resource_name": "r"});
    server
        .send("PATCH", "/api/v2/tenants/nobody", Some(&patch))
        .is(200, "{}");

    let databases = "/api/v2/tenants/default_tenant/databases";
    server
        .post(databases, &json!({"name": "abc"}))
        .is(200, "{}");
    server
        .post(databases, &json!({"name": "abc"}))
        .fails(409, "ChromaError", "already exists");
    server
        .post(databases, &json!({"name": "a"}))
        .fails(400, "InvalidArgumentError", "Expected");
    let list = server.get(databases).json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["abc", "default_database"]);
    server.get(&format!("{databases}?limit=-1")).fails(
        400,
        "InvalidArgumentError",
        "Failed to deserialize query string: limit: invalid digit found in string",
    );
    server.get(&format!("{databases}?limit=0")).is(200, "[]");
    server
        .get(&format!("{databases}/ab"))
        .fails(400, "InvalidArgumentError", "at least 3");
    server.get(&format!("{databases}/nope")).fails(
        404,
        "NotFoundError",
        "Database [nope] not found. Are you sure it exists?",
    );
    server
        .send("DELETE", &format!("{databases}/abc"), None)
        .is(200, "{}");
    server
        .send("DELETE", &format!("{databases}/abc"), None)
        .fails(404, "NotFoundError", "[abc]");
}

#[test]
fn collection_is_made_once_found_by_name_and_id_changed_and_deleted() {
    let server = TestServer::start();
    let path = format!("{DATABASE}/collections");
    let made = server
        .post(&path, &json!({"name": "abc", "metadata": {"k": 1}}))
        .json();
    assert_eq!(
        (&made["metadata"], &made["dimension"]),
        (&json!({"k": 1}), &Value::Null)
    );
    server
        .post(&path, &json!({"name": "abc"}))
        .fails(409, "ChromaError", "already exists");
    let again = json!({"name": "abc", "get_or_create": true, "metadata": {"other": 1}});
    assert_eq!(server.post(&path, &again).json(), made);
    assert_eq!(server.get(&format!("{path}/abc")).json(), made);
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("{path}/by-id/{id}")).json(), made);
    server
        .get(&format!("{path}/{id}"))
        .fails(404, "NotFoundError", "does not exist");
    server.get(&format!("{path}/by-id/x")).fails(
        400,
        "InvalidArgumentError",
        "Validation error: collection_id: Invalid collection ID format, expected UUID",
    );
    server
        .get(&format!("{DATABASE}/collections_count"))
        .is(200, "1");
    assert_eq!(server.get(&path).json(), json!([made]));

    let put = |id: &str, body: Value| server.send("PUT", &format!("{path}/{id}"), Some(&body));
    put("abc", json!({})).fails(400, "InvalidArgumentError", "not a valid UUIDv4");
    put(id, json!({})).is(200, "{}");
    put(id, json!({"new_name": "def", "new_metadata": {"k": null}})).is(200, "{}");
    put(id, json!({"new_configuration": {"hnsw": {"ef_search": 7}}})).is(200, "{}");
    let changed = server.get(&format!("{path}/def")).json();
    assert_eq!(changed["metadata"], Value::Null);
    assert_eq!(changed["configuration_json"]["hnsw"]["ef_search"], 7);
    let delete = |name: &str| server.send("DELETE", &format!("{path}/{name}"), None);
    delete("abc").fails(404, "NotFoundError", "Collection [abc] does not exist");
    delete("def").is(200, "{}");
}

#[test]
fn records_are_written_read_searched_and_deleted() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let post = |route: &str, body: Value| server.post(&format!("{records}/{route}"), &body);
    post(
        "add",
        json!({"ids": ["a", "b", "c"], "embeddings": [[1, 0], [0, 2], [3, 4]],
            "documents": ["one fox", null, "three"], "metadatas": [{"n": 1}, {"n": 2}, null]}),
    )
    .is(201, r#"{"first_seq_id":1,"last_seq_id":3}"#);
    server.get(&format!("{records}/count")).is(200, "3");
    post("get", json!({"where": {"n": {"$gt": 1}}})).is(
        200,
        concat!(
            r#"{"ids":["b"],"embeddings":null,"documents":[null],"uris":null,"#,
            r#""metadatas":[{"n":2}],"include":["documents","metadatas"]}"#
        ),
    );
    post(
        "query",
        json!({"query_embeddings": [[1, 1]], "n_results": 2, "include": ["distances"]}),
    )
    .is(
        200,
        concat!(
            r#"{"ids":[["a","b"]],"embeddings":null,"documents":null,"uris":null,"#,
            r#""metadatas":null,"distances":[[1.0,2.0]],"include":["distances"]}"#
        ),
    );
    post(
        "update",
        json!({"ids": ["a", "zz"], "documents": ["new", "x"]}),
    )
    .is(200, r#"{"first_seq_id":4,"last_seq_id":5}"#);
    post("upsert", json!({"ids": ["d"], "embeddings": [[5, 5]]}))
        .is(200, r#"{"first_seq_id":6,"last_seq_id":6}"#);
    post("upsert", json!({"ids": [], "embeddings": []})).is(200, "{}");
    let found = post(
        "get",
        json!({"where_document": {"$contains": "new"}, "include": []}),
    );
    assert_eq!(found.json()["ids"], json!(["a"]));
    post("delete", json!({})).is(200, r#"{"deleted":0}"#);
    post("delete", json!({"where": {"n": 2}}))
        .is(200, r#"{"deleted":1,"first_seq_id":7,"last_seq_id":7}"#);
    server
        .get(&format!("{records}/count?read_level=index_only"))
        .is(200, "3");
    server
        .get(&format!("{records}/count?read_level=x"))
        .fails(400, "InvalidArgumentError", "x");
    let status = server.get(&format!("{records}/indexing_status")).json();
    assert_eq!(status["op_indexing_progress"], 0.0);
    assert_eq!(status["num_unindexed_ops"], status["total_ops"]);
    assert_eq!(status["num_visible_ops"], status["total_ops"]);
    let collection = || {
        let told = server.get(&format!("{DATABASE}/collections/abc")).json();
        (told["version"].clone(), told["log_position"].clone())
    };
    assert_eq!(collection(), (json!(0), json!(0)));
    server.database.seal_all().unwrap();
    let status = server.get(&format!("{records}/indexing_status")).json();
    assert_eq!(status["op_indexing_progress"], 1.0);
    assert_eq!(status["num_unindexed_ops"], 0);
    assert_eq!(collection(), (json!(1), status["total_ops"].clone()));
}

#[test]
fn searches_rank_group_and_select() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let post = |route: &str, body: Value| server.post(&format!("{records}/{route}"), &body);
    let knn = json!({"$knn": {"query": [1, 1]}});
    post("search", json!({"searches": [{"rank": knn}, {}]})).is(
        200,
        concat!(
            r#"{"ids":[[],[]],"documents":[null,null],"embeddings":[null,null],"#,
            r#""metadatas":[null,null],"scores":[null,null],"select":[[],[]]}"#
        ),
    );
    post(
        "add",
        json!({"ids": ["a", "b", "c"], "embeddings": [[1, 0], [0, 2], [3, 4]],
            "documents": ["one", null, "three"],
            "metadatas": [{"n": 1, "g": "x"}, {"n": 2, "g": "x"}, {"n": 3}]}),
    );
    let searches = json!({"searches": [
        {"rank": {"$sum": [knn, {"$val": 0.5}]}, "select": {"keys": ["#score", "n", "#document"]}},
        {"filter": {"n": {"$gt": 1}}, "limit": {"offset": 1}, "select": {"keys": ["#metadata", "#score"]}},
        {"rank": {"$log": {"$sub": {"left": knn, "right": {"$val": 2}}}}, "select": {"keys": ["#score"]},
         "group_by": {"keys": ["g"], "aggregate": {"$max_k": {"keys": ["n"], "k": 1}}}},
    ]});
    post("search", searches).is(
        200,
        concat!(
            r#"{"ids":[["a","b","c"],["c"],["c","b"]],"#,
            r#""documents":[["one",null,"three"],null,null],"embeddings":[null,null,null],"#,
            r#""metadatas":[[{"n":1},{"n":2},{"n":3}],[{"n":3}],null],"#,
            r#""scores":[[1.5,2.5,13.5],[null],[2.3978953,null]],"#,
            r##""select":[["#document","#score","n"],["#metadata","#score"],["#score"]]}"##
        ),
    );
    let fails = |search: Value, status: u16, message: &str| {
        let name = if status == 400 {
            "InvalidArgumentError"
        } else {
            "ChromaError"
        };
        post("search", json!({"searches": [search]})).fails(status, name, message);
    };
    fails(json!({"rank": {"$pow": 1}}), 422, "unknown variant `$pow`");
    fails(
        json!({"rank": {"$knn": {"query": [1]}}}),
        400,
        "dimension of 2, got 1",
    );
    fails(
        json!({"rank": {"$knn": {"query": [1, 1], "key": "n"}}}),
        400,
        "dense vector",
    );
    let sparse = json!({"indices": [1], "values": [1]});
    let on = |key: &str| json!({"rank": {"$knn": {"query": sparse, "key": key}}});
    fails(on("n"), 400, "Cannot rank by metadata key 'n'");
    fails(
        on("#embedding"),
        400,
        "sparse vector searches a metadata key",
    );
    fails(
        json!({"filter": {"a": 1, "b": 2}}),
        400,
        "Invalid where clause",
    );
}

#[test]
fn sparse_vectors_are_kept_told_and_ranked() {
    let server = TestServer::start();
    let on = json!({"sparse_vector": {"sparse_vector_index": {"enabled": true, "config": {}}}});
    let made = server.post(
        &format!("{DATABASE}/collections"),
        &json!({"name": "sparse", "schema": {"defaults": {}, "keys": {"s": on}}}),
    );
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let records = format!("{DATABASE}/collections/{id}");
    let post = |route: &str, body: Value| server.post(&format!("{records}/{route}"), &body);
    let vector = |indices: &[u32], values: &[f32]| json!({"#type": "sparse_vector", "indices": indices, "values": values});
    post(
        "add",
        json!({"ids": ["a", "b", "c", "d"], "embeddings": [[1], [2], [3], [4]],
            "metadatas": [{"s": vector(&[1, 7], &[0.5, 2.0])}, {"s": vector(&[7], &[3.0])},
                {"s": vector(&[2], &[9.0])}, null]}),
    );
    let got = post("get", json!({"ids": ["a"]})).json();
    assert_eq!(got["metadatas"][0]["s"], vector(&[1, 7], &[0.5, 2.0]));
    let knn = json!({"$knn": {"query": vector(&[1, 7], &[1.0, 1.0]), "key": "s"}});
    let search = json!({"searches": [{"rank": knn, "select": {"keys": ["#score"]}}]});
    let found = post("search", search).json();
    assert_eq!(found["ids"], json!([["b", "a"]]));
    assert_eq!(found["scores"], json!([[-2.0, -1.5]]));
}

#[test]
fn records_are_reached_through_their_own_tenant_and_database_only() {
    let server = TestServer::start();
    let records = server.collection("abc");
    server.post(
        "/api/v2/tenants/default_tenant/databases",
        &json!({"name": "other"}),
    );
    let id = records.rsplit('/').next().unwrap();
    for scope in [
        "default_tenant/databases/other",
        "nobody/databases/default_database",
    ] {
        let foreign = format!("/api/v2/tenants/{scope}/collections/{id}");
        let add = json!({"ids": ["a"], "embeddings": [[1]]});
        for answer in [
            server.post(&format!("{foreign}/add"), &add),
            server.post(&format!("{foreign}/get"), &json!({})),
            server.post(&format!("{foreign}/delete"), &json!({})),
            server.get(&format!("{foreign}/count")),
            server.get(&format!("{foreign}/indexing_status")),
        ] {
            let expected = format!("Collection [{id}] does not exist.");
            answer.fails(404, "NotFoundError", &expected);
        }
    }
    let wrong = format!("{DATABASE}/collections/abc/count");
    server.get(&wrong).fails(
        400,
        "InvalidArgumentError",
        "Collection ID is not a valid UUIDv4",
    );
}

#[test]
fn gets_are_ordered_and_aggregated_by_values_and_counts_take_a_selection() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let post = |route: &str, body: Value| server.post(&format!("{records}/{route}"), &body);
    let body = json!({"ids": ["a", "b", "c", "d"], "embeddings": [[1], [2], [3], [4]],
        "metadatas": [{"n": 2, "tags": ["x", "y"]}, {"n": 1.5, "tags": ["x"]}, {"n": 10}, null]});
    assert_eq!(post("add", body).status, 201);
    let body = json!({"order_by": [{"key": "n", "direction": "desc"}], "limit": 3, "include": [],
        "aggregates": [{"count_by": "tags"}, {"distinct": "n"}, {"min": "n"}, {"max": "none"}]});
    post("get", body).is(
        200,
        concat!(
            r#"{"ids":["c","a","b"],"embeddings":null,"documents":null,"uris":null,"#,
            r#""metadatas":null,"include":[],"aggregates":["#,
            r#"{"count_by":"tags","missing":2,"total":2,"values":["#,
            r#"{"count":2,"value":"x"},{"count":1,"value":"y"}]},"#,
            r#"{"distinct":"n","total":3,"values":[1.5,2,10]},"#,
            r#"{"min":"n","value":1.5},{"max":"none","value":null}]}"#
        ),
    );
    post("count", json!({"where": {"n": {"$gte": 2}}})).is(200, "2");
    post("count", json!({"ids": ["a", "zz"]})).is(200, "1");
    post("count", json!({})).is(200, "4");
    post("count", json!({"where": {}})).fails(400, "InvalidArgumentError", "Invalid where");
    post(
        "delete",
        json!({"ids": ["b", "zz", "d"], "return_ids": true}),
    )
    .is(
        200,
        r#"{"deleted":2,"first_seq_id":5,"last_seq_id":6,"ids":["b","d"]}"#,
    );
    for none in [
        json!({"where": {"n": 99}, "return_ids": true}),
        json!({"return_ids": true}),
    ] {
        post("delete", none).is(200, r#"{"deleted":0,"ids":[]}"#);
    }
}

#[test]
fn what_a_single_node_does_not_serve_is_said_so() {
    let server = TestServer::start();
    server
        .get("/api/v2/collections/a:b:c")
        .fails(404, "NotFoundError", "does not exist");
    server
        .get("/api/v2/collections/x")
        .fails(400, "InvalidArgumentError", "Validation error: crn");
}

#[test]
fn unknown_paths_and_methods_of_our_own_are_told_as_errors() {
    let server = TestServer::start();
    for path in ["/control/v1/nothing", "/control", "/metrics/", "/healthz/x"] {
        let message = format!("{path} is no path of this server");
        server.get(path).fails(404, "NotFoundError", &message);
    }
    for path in ["/curation/v1/nothing", "/curation/v2"] {
        let unknown = server.get(path);
        unknown.fails(404, "not_found", "is no path of this server");
        assert_eq!(unknown.json()["hint"], json!(null));
    }
    let wrong = |path: &str, name: &str, allowed: &str| {
        let answer = server.send("PATCH", path, None);
        answer.fails(405, name, "takes no PATCH");
        assert_eq!(answer.header("allow"), Some(allowed));
    };
    wrong("/healthz", "ChromaError", "GET,HEAD");
    wrong("/control/v1/jobs", "ChromaError", "GET,HEAD");
    wrong("/curation/v1/log", "method_not_allowed", "POST");
    for path in ["/", "/docs/", "/openapi.json"] {
        let answer = server.send("PATCH", path, None);
        answer.is(405, "");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
}

#[test]
fn a_function_takes_no_further_input() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let add = |body: &serde_json::Value| {
        server.post(&format!("{records}/attached_functions/f/add_input"), body)
    };
    let other = json!({"input_collection_id": "00000000-0000-0000-0000-000000000000"});
    add(&other).fails(404, "NotFoundError", "does not exist");
    let body = json!({"name": "f", "function_id": "statistics", "output_collection": "out"});
    let attached = server.post(&format!("{records}/functions/attach"), &body);
    assert_eq!(attached.status, 200);
    let told = server.get(&format!("{records}/functions/f")).json();
    add(&other).fails(
        400,
        "InvalidArgumentError",
        "multiple input collections are only supported for async attached functions",
    );
    add(&json!([])).fails(422, "ChromaError", "invalid type: sequence");
    assert_eq!(server.get(&format!("{records}/functions/f")).json(), told);
}

#[test]
fn a_function_is_attached_told_of_and_detached() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let attach =
        |body: serde_json::Value| server.post(&format!("{records}/functions/attach"), &body);
    let body = json!({"name": "f", "function_id": "statistics", "output_collection": "out",
                      "params": null});
    let made = attach(body.clone()).json();
    assert_eq!(made["created"], true);
    assert_eq!(made["attached_function"]["function_name"], "statistics");
    assert_eq!(attach(body).json()["created"], false);
    let told = server.get(&format!("{records}/functions/f")).json();
    let told = &told["attached_function"];
    assert_eq!(told["id"], made["attached_function"]["id"]);
    assert_eq!(told["output_collection"], "out");
    let output = server.get(&format!("{DATABASE}/collections/out")).json();
    assert_eq!(output["schema"]["source_attached_function_id"], told["id"]);
    let other = json!({"name": "f", "function_id": "median", "output_collection": "o2x"});
    attach(other).fails(404, "NotFoundError", "function not found");
    server
        .get(&format!("{records}/functions/g"))
        .fails(404, "NotFoundError", "does not exist");
    let detach = || {
        let path = format!("{records}/attached_functions/f/detach");
        server.post(&path, &json!({"delete_output": true}))
    };
    detach().is(200, r#"{"success":true}"#);
    detach().fails(404, "NotFoundError", "does not exist");
    server
        .get(&format!("{DATABASE}/collections_count"))
        .is(200, "1");
}

#[test]
fn reset_deletes_everything_if_it_is_allowed() {
    let server = TestServer::start();
    server.collection("abc");
    server.post("/api/v2/reset", &json!({})).is(200, "true");
    server
        .get(&format!("{DATABASE}/collections_count"))
        .is(200, "0");
    let strict = TestServer::with(|config| config.allow_reset = false);
    strict.collection("abc");
    strict.post("/api/v2/reset", &json!({})).fails(
        403,
        "ChromaError",
        "Reset is disabled by config",
    );
    strict
        .get(&format!("{DATABASE}/collections_count"))
        .is(200, "1");
}

#[test]
fn pages_description_and_metrics_are_served() {
    let server = TestServer::start();
    assert!(server.get("/").text().contains("Vermilion"));
    let leads = server.get("/docs");
    assert_eq!(
        (leads.status, leads.header("location")),
        (303, Some("/docs/"))
    );
    let docs = server.get("/docs/");
    assert!(docs.text().contains("/openapi.json"));
    assert!(
        !docs.text().contains("https://"),
        "the page works without a network"
    );
    let document = server.get("/openapi.json").json();
    assert_eq!(document["info"]["title"], "Vermilion");
    let records = server.collection("abc");
    let add = json!({"ids": ["a"], "embeddings": [[1]]});
    assert_eq!(server.post(&format!("{records}/add"), &add).status, 201);
    let metrics = server.get("/metrics");
    let page = metrics.text();
    for line in [
        "vermilion_request_duration_seconds_count{method=\"POST\",path=\"/api/v2/tenants/{tenant}\
         /databases/{database}/collections/{collection_id}/add\",status=\"201\"} 1\n",
        "vermilion_log_appends_total 1\n",
        "vermilion_collections 1\n",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[test]
fn every_route_of_the_description_is_routed() {
    let server = TestServer::start();
    let document = server.get("/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "xyz" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in methods.as_object().unwrap().keys() {
            let answer = server.send(&method.to_uppercase(), &filled, Some(&json!({})));
            let text = answer.text();
            let told = text.is_empty() || text.contains("is no path of this server");
            let unrouted = answer.status == 405 || (answer.status == 404 && told);
            assert!(!unrouted, "{method} {path}");
            assert!(
                answer.status < 500 || answer.status == 501,
                "{method} {path}"
            );
        }
    }
}
