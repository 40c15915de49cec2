//! Collections, databases, tenants and paths that cannot be.

use super::Case;
use crate::harness::DATABASE;

/// Bodies of new collections.
const NEW: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    r#"{"name":null}"#,
    r#"{"name":1}"#,
    r#"{"name":["abc"]}"#,
    r#"{"name":""}"#,
    r#"{"name":"ab"}"#,
    r#"{"name":"a b c"}"#,
    r#"{"name":"-abc"}"#,
    r#"{"name":"abc-"}"#,
    r#"{"name":"a..bc"}"#,
    r#"{"name":"10.0.0.1"}"#,
    r#"{"name":"a/b/c"}"#,
    r#"{"name":"../abc"}"#,
    r#"{"name":"a\u0000bc"}"#,
    r#"{"name":"\u00fcmlaut"}"#,
    r#"{"name":"abc\n"}"#,
    r#"{"name":"new","metadata":1}"#,
    r#"{"name":"new","metadata":[]}"#,
    r#"{"name":"new","metadata":{"k":{}}}"#,
    r#"{"name":"new","metadata":{"k":[1,"x"]}}"#,
    r#"{"name":"new","get_or_create":"yes"}"#,
    r#"{"name":"new","metadata":{"hnsw:space":"l7"}}"#,
    r#"{"name":"new","metadata":{"hnsw:nothing":1}}"#,
    r#"{"name":"new","configuration":1}"#,
    r#"{"name":"new","configuration":{"hnsw":{"space":"l7"}}}"#,
    r#"{"name":"new","configuration":{"hnsw":{"unknown":1}}}"#,
    r#"{"name":"new","configuration":{"hnsw":{"ef_search":-1}}}"#,
    r#"{"name":"new","configuration":{"hnsw":{"ef_search":"x"}}}"#,
    r#"{"name":"new","configuration":{"spann":{"unknown":1}}}"#,
    r#"{"name":"new","schema":1}"#,
    r#"{"name":"new","schema":{}}"#,
    r#"{"name":"new","schema":{"defaults":{}}}"#,
    r##"{"name":"new","schema":{"defaults":{},"keys":{"#other":{"string":{"string_inverted_index":{"enabled":true,"config":{}}}}}}}"##,
    r#"{"name":"new","schema":{"defaults":{},"keys":{"k":{"string":{"fts_index":{"enabled":true,"config":{}}}}}}}"#,
    r#"{"name":"new","schema":{"defaults":{},"keys":{"k":{"float_list":{"vector_index":{"enabled":true,"config":{}}}}}}}"#,
    r#"{"name":"new","schema":{"defaults":{"float_list":{"vector_index":{"enabled":true,"config":{}}}},"keys":{}}}"#,
    r#"{"name":"new","schema":{"defaults":{"string":{"fts_index":{"enabled":"yes","config":{}}}},"keys":{}}}"#,
    r#"{"name":"new","metadata":{"vermilion:ttl_seconds":"soon"}}"#,
    r#"{"name":"new","metadata":{"vermilion:ttl_seconds":-1}}"#,
    r#"{"name":"new","metadata":{"vermilion:recall":7}}"#,
];

/// Changes of a collection.
const CHANGES: &[&str] = &[
    "",
    "{",
    "[]",
    r#"{"new_name":1}"#,
    r#"{"new_name":""}"#,
    r#"{"new_name":"a b"}"#,
    r#"{"new_name":"10.0.0.1"}"#,
    r#"{"new_metadata":1}"#,
    r#"{"new_metadata":{}}"#,
    r#"{"new_metadata":{"k":{}}}"#,
    r#"{"new_configuration":1}"#,
    r#"{"new_configuration":{"hnsw":{"space":"ip"}}}"#,
    r#"{"new_configuration":{"hnsw":{"ef_construction":7}}}"#,
    r#"{"new_configuration":{"hnsw":{},"spann":{}}}"#,
];

/// Names of tenants and databases.
const NAMES: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    r#"{"name":1}"#,
    r#"{"name":null}"#,
    r#"{"name":""}"#,
    r#"{"name":"ab"}"#,
    r#"{"name":["abc"]}"#,
];

pub(super) fn cases(records: &str) -> Vec<Case> {
    let collections = format!("{DATABASE}/collections");
    let mut cases: Vec<Case> = NEW
        .iter()
        .map(|body| Case::post(collections.clone(), *body))
        .collect();
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(513));
    cases.push(Case::post(collections.clone(), long));
    cases.push(Case::post(collections.clone(), r#"{"name":"target"}"#).with(&[409]));
    cases.extend(CHANGES.iter().map(|body| Case::new("PUT", records, *body)));
    for parent in [
        "/api/v2/tenants",
        "/api/v2/tenants/default_tenant/databases",
    ] {
        cases.extend(NAMES.iter().map(|body| Case::post(parent, *body)));
    }
    cases.push(Case::post("/api/v2/tenants", r#"{"name":"default_tenant"}"#).with(&[409]));
    for query in [
        "limit=-1",
        "limit=x",
        "limit=4294967296",
        "offset=-1",
        "offset=1.5",
        "limit=1&limit=x",
    ] {
        for list in [&collections[..], "/api/v2/tenants/default_tenant/databases"] {
            cases.push(Case::new("GET", format!("{list}?{query}"), "").with(&[400]));
        }
    }
    cases.extend(paths(records));
    cases
}

/// Paths to what is not there, is another's, or is closed.
fn paths(records: &str) -> Vec<Case> {
    let collections = format!("{DATABASE}/collections");
    let mut cases = Vec::new();
    let id = records.rsplit('/').next().unwrap_or_default();
    let stranger = "00000000-0000-4000-8000-000000000000";
    for (path, statuses) in [
        (format!("{collections}/no-uuid/get"), &[400][..]),
        (format!("{collections}/%ff/get"), &[400]),
        (format!("{collections}/{stranger}/get"), &[404]),
        (format!("{collections}/{stranger}/add"), &[404, 422, 400]),
        (
            format!("/api/v2/tenants/other/databases/default_database/collections/{id}/get"),
            &[404],
        ),
        (
            format!("/api/v2/tenants/default_tenant/databases/other/collections/{id}/get"),
            &[404],
        ),
        (
            format!("/api/v2/tenants/%ff/databases/other/collections/{id}/get"),
            &[400],
        ),
    ] {
        cases.push(Case::post(path, "{}").with(statuses));
    }
    for (method, path, statuses) in [
        ("GET", format!("{collections}/missing"), &[404][..]),
        ("DELETE", format!("{collections}/missing"), &[404]),
        ("DELETE", format!("{collections}/%00"), &[400, 404]),
        ("GET", "/api/v2/tenants/missing".to_owned(), &[404]),
        (
            "GET",
            "/api/v2/tenants/default_tenant/databases/missing".to_owned(),
            &[404],
        ),
        (
            "DELETE",
            "/api/v2/tenants/default_tenant/databases/missing".to_owned(),
            &[404],
        ),
        ("POST", "/api/v2/reset".to_owned(), &[403]),
        ("POST", "/api/v1/collections".to_owned(), &[410]),
    ] {
        cases.push(Case::new(method, path, "").with(statuses));
    }
    cases
}
