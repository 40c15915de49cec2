//! The description of the API for programs, made from the route table and the schemas beside it.

use std::sync::LazyLock;

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use vermilion_curation::fields::Context;
use vermilion_curation::{
    ALPHA_MAX, ALPHA_MIN, Format as ExportFormat, ISSUE_TYPES, ISSUES_PAGE_MAX, LISTED_PAGE_MAX,
    POINTS_MAX,
};
use vermilion_protocol::arrow;

use crate::access::Need;
use crate::handlers::control::RUNS_MAX;
use crate::routes::{self, Route};

/// Schemas by name, as JSON.
const SCHEMAS: &str = include_str!("openapi/schemas.json");

/// The whole document as JSON text, made once.
pub(crate) fn document() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| build().to_string().into());
    DOCUMENT.clone()
}

fn build() -> Value {
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("a test reads the schemas");
    let mut paths = Map::new();
    for route in routes::all() {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vermilion",
            "description": "An embedding database with the Chroma v2 API.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": ways_to_bring_a_key()},
    })
}

/// How a request brings an API key, where the server asks for one.
fn ways_to_bring_a_key() -> Value {
    json!({
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
        "token": {"type": "apiKey", "in": "header", "name": "X-Chroma-Token"},
    })
}

fn named(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn reference(schema: &str) -> Value {
    json!({"application/json": {"schema": named(schema)}})
}

/// The same, or a stream of Arrow where `or_arrow`.
fn content(schema: &str, or_arrow: bool) -> Value {
    let mut content = reference(schema);
    if or_arrow {
        content[arrow::MEDIA_TYPE] = json!({});
    }
    content
}

fn operation(route: &Route) -> Value {
    let success = match route.answer {
        Some(schema) => {
            json!({"description": "Success", "content": content(schema, route.answers_arrow)})
        }
        None => json!({"description": "Success"}),
    };
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": {
            route.status.to_string(): success,
            "default": {"description": "An error", "content": reference(refusal(route))},
        },
    });
    if route.answers_pages {
        let content = &mut operation["responses"][route.status.to_string()]["content"];
        content["text/html"] = json!({});
        content["text/markdown"] = json!({});
    }
    if let Some(schema) = route.accepted {
        operation["responses"]["202"] =
            json!({"description": "Begun; the answer does not wait", "content": reference(schema)});
    }
    if route.operation == "healthcheck" || route.operation == "readyz" {
        let mut unready = operation["responses"]["200"].clone();
        unready["description"] = json!("Not ready");
        operation["responses"]["503"] = unready;
    }
    if route.needs != Need::Nothing {
        operation["security"] = json!([{}, {"bearer": []}, {"basic": []}, {"token": []}]);
    }
    if let Some(role) = route.needs.role() {
        operation["description"] =
            json!(format!("With API keys: takes the role `{}`.", role.name()));
    }
    if route.tells_seqs {
        let status = route.status.to_string();
        operation["responses"][status]["headers"] = json!({
            "x-vermilion-seq-id": seq_header("The last SeqId of what was written."),
            "x-vermilion-first-seq-id": seq_header("The first."),
        });
    }
    if let Some(schema) = route.body {
        operation["requestBody"] = json!({
            "required": route.needs_body,
            "content": content(schema, route.takes_arrow),
        });
        if route.takes_lines {
            operation["requestBody"]["content"]["application/x-ndjson"] = json!({});
        }
    }
    operation
}

/// The schema of what a route answers to what it does not take. What stands in front of routes of
/// curation, such as the check of a key, answers with the two members that both schemas have.
fn refusal(route: &Route) -> &'static str {
    if route.path.starts_with(routes::CURATION) {
        "Refusal"
    } else {
        "Error"
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = path_names(route.path).map(|name| {
        let schema = match name {
            "collection_id" if takes_an_id(route) => json!({"type": "string", "format": "uuid"}),
            "crn" => json!({"type": "string", "pattern": "^[^:]+:[^:]+:[^:]+$"}),
            "component" if route.path.starts_with(routes::CURATION) => text(),
            "component" if route.operation == "run_component" => named("RunnableComponent"),
            "component" => named("ComponentName"),
            _ => text(),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    });
    let in_query = route.query.iter().map(|name| query_parameter(route, name));
    let in_header = route.headers.iter().map(|(name, most, description)| {
        let schema = json!({"type": "integer", "minimum": 0, "maximum": most});
        json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": schema,
        })
    });
    in_path.chain(in_query).chain(in_header).collect()
}

fn query_parameter(route: &Route, name: &str) -> Value {
    let schema = match name {
        "read_level" => json!({
            "type": "string",
            "enum": ["index_and_wal", "index_only", "index_and_bounded_wal"],
        }),
        "metric" => named("Space"),
        "idempotency_key" => json!({"type": "string", "minLength": 1, "maxLength": 64}),
        "job" | "space" | "dataset" | "state" | "trigger" | "from" | "to" | "fields" | "window"
        | "reference" | "by" | "bucket" => text(),
        "filter" | "where" => named("Where"),
        "embedding_set" => named("Object"),
        "class_names" => json!({"type": "array", "items": text()}),
        "context" => one_of(&Context::ALL.map(Context::name)),
        "type" => one_of(&ISSUE_TYPES),
        "what" => one_of(&["recommendations", "issues", "training", "records"]),
        "format" if route.path.ends_with("/export") => one_of(ExportFormat::NAMES),
        "format" => one_of(&["json", "md", "html"]),
        "bounds" => json!({
            "type": "string",
            "description": "The lowest x and y, then the highest: X0,Y0,X1,Y1.",
        }),
        "points" => json!({"type": "integer", "minimum": 1, "maximum": POINTS_MAX}),
        "assess" | "all" => json!({"type": "boolean"}),
        "alpha" => json!({"type": "number", "minimum": ALPHA_MIN, "maximum": ALPHA_MAX}),
        "threshold" => json!({"type": "number", "minimum": 0, "maximum": 2}),
        "limit" if route.operation == "job_history" => {
            json!({"type": "integer", "minimum": 0, "maximum": RUNS_MAX})
        }
        "limit" | "ids_limit" if route.path.ends_with("/issues") => {
            json!({"type": "integer", "minimum": 0, "maximum": ISSUES_PAGE_MAX})
        }
        "limit" if route.path.starts_with("/curation/") => {
            json!({"type": "integer", "minimum": 0, "maximum": LISTED_PAGE_MAX})
        }
        _ => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
    };
    let must =
        name == "what" || name == "space" && route.operation.starts_with("curation_recommend");
    let mut parameter = json!({"name": name, "in": "query", "required": must});
    if ["filter", "where", "embedding_set", "class_names"].contains(&name) {
        parameter["content"] = json!({"application/json": {"schema": schema}});
    } else {
        parameter["schema"] = schema;
    }
    parameter
}

fn text() -> Value {
    json!({"type": "string"})
}

/// The schema of a text that is one of some.
fn one_of(texts: &[&str]) -> Value {
    json!({"type": "string", "enum": texts})
}

/// Whether the collection in the path of a route is named by its id: two routes take its name there.
fn takes_an_id(route: &Route) -> bool {
    !route.path.ends_with("/collections/{collection_id}") || route.method == "put"
}

fn seq_header(description: &str) -> Value {
    json!({"description": description, "schema": {"type": "integer", "minimum": 1}})
}

/// The names in braces of a path.
fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use vermilion_engine::model::Recall;

    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there_and_every_operation_is_unique() {
        let document: Value = serde_json::from_slice(&document()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        let operations: HashSet<_> = routes::all().map(|route| route.operation).collect();
        assert_eq!(operations.len(), routes::all().count());
        // Of two schemas with a name the reader keeps the last.
        let mut names: Vec<&str> = SCHEMAS
            .lines()
            .filter_map(|line| line.strip_prefix("  \"")?.split('"').next())
            .collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }

    #[test]
    fn reads_tell_their_headers_and_writes_their_seq_ids() {
        let document: Value = serde_json::from_slice(&document()).unwrap();
        let record = |operation: &str| {
            let base = "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection_id}";
            document["paths"][format!("{base}/{operation}")].clone()
        };
        for operation in ["get", "query"] {
            let parameters = record(operation)["post"]["parameters"].to_string();
            for name in [
                "x-vermilion-min-seq-id",
                "x-vermilion-wait-ms",
                "read_level",
            ] {
                assert!(parameters.contains(name), "{operation}: {parameters}");
            }
        }
        for (operation, status) in [("add", "201"), ("upsert", "200"), ("delete", "200")] {
            let headers = &record(operation)["post"]["responses"][status]["headers"];
            assert!(headers["x-vermilion-seq-id"].is_object(), "{operation}");
        }
        let recall = &document["components"]["schemas"]["QueryRecords"]["properties"]["recall"];
        let lowest = recall["oneOf"][0]["minimum"].as_f64().unwrap();
        assert!((lowest - f64::from(Recall::LOWEST)).abs() < 1e-6);
    }

    #[test]
    fn collections_are_named_by_id_but_where_they_are_found_or_deleted() {
        let document: Value = serde_json::from_slice(&document()).unwrap();
        let collection =
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection_id}";
        let format = |path: &str, method: &str| {
            let parameters = document["paths"][path][method]["parameters"]
                .as_array()
                .unwrap();
            let found = parameters.iter().find(|one| one["name"] == "collection_id");
            found.unwrap()["schema"]["format"].clone()
        };
        assert_eq!(format(collection, "get"), Value::Null);
        assert_eq!(format(collection, "delete"), Value::Null);
        assert_eq!(format(collection, "put"), "uuid");
        assert_eq!(format(&format!("{collection}/add"), "post"), "uuid");
    }

    #[test]
    fn records_come_and_go_as_json_or_arrow() {
        let document: Value = serde_json::from_slice(&document()).unwrap();
        for route in routes::all() {
            let operation = &document["paths"][route.path][route.method];
            let kinds = |content: &Value| {
                let kinds = content.as_object().map(|kinds| kinds.keys().cloned());
                kinds.into_iter().flatten().collect::<Vec<_>>()
            };
            let both = ["application/json", arrow::MEDIA_TYPE];
            let takes = ["collection_add", "collection_upsert", "collection_update"];
            let body = kinds(&operation["requestBody"]["content"]);
            assert_eq!(body == both, takes.contains(&route.operation), "{body:?}");
            let tells = ["collection_get", "collection_query", "collection_search"];
            let answer = kinds(&operation["responses"]["200"]["content"]);
            assert_eq!(
                answer == both,
                tells.contains(&route.operation),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn document_has_every_route_with_its_parameters() {
        let document: Value = serde_json::from_slice(&document()).unwrap();
        for route in routes::all() {
            let operation = &document["paths"][route.path][route.method];
            assert_eq!(operation["operationId"], route.operation);
            let expected = path_names(route.path).count() + route.query.len() + route.headers.len();
            assert_eq!(operation["parameters"].as_array().unwrap().len(), expected);
        }
    }
}
