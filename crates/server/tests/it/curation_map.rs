//! The map of a space, over a real socket.

use std::collections::HashMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_ipc::reader::StreamReader;
use serde_json::json;

use crate::curation_scores::{Noise, SPACE, fill, log, refused};
use crate::harness::TestServer;

/// Places by id, and the columns besides.
fn map(server: &TestServer, query: &str) -> (HashMap<String, [f32; 2]>, arrow_array::RecordBatch) {
    let answer = server.get(&format!("{SPACE}/map?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.status);
    let stream = StreamReader::try_new(&answer.body[..], None).unwrap();
    assert_eq!(stream.schema().metadata()["ready"], "true");
    let batches: Vec<_> = stream.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    let batch = batches.into_iter().next().unwrap();
    let column = |name: &str| batch.column_by_name(name).unwrap().clone();
    let (ids, x, y) = (column("id"), column("x"), column("y"));
    let (x, y) = (
        x.as_primitive::<Float32Type>(),
        y.as_primitive::<Float32Type>(),
    );
    let ids = ids.as_string::<i32>();
    let places = (0..ids.len()).map(|at| (ids.value(at).to_owned(), [x.value(at), y.value(at)]));
    (places.collect(), batch.clone())
}

fn apart(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[test]
fn records_are_near_what_is_like_them_and_keep_their_places_when_others_come() {
    let server = TestServer::start();
    fill(&server, 150, 0);
    let (places, batch) = map(&server, "");
    assert_eq!(places.len(), 210);
    assert!(places.values().flatten().all(|number| number.is_finite()));
    let middle = |class: usize| -> [f32; 2] {
        let own = (0..150)
            .filter(|n| n % 3 == class)
            .map(|n| places[&format!("p-{n:03}")]);
        let own: Vec<[f32; 2]> = own.collect();
        [0, 1].map(|axis| own.iter().map(|at| at[axis]).sum::<f32>() / own.len() as f32)
    };
    let middles = [middle(0), middle(1), middle(2)];
    let nearest = |at: [f32; 2]| {
        (0..3)
            .min_by(|a, b| apart(at, middles[*a]).total_cmp(&apart(at, middles[*b])))
            .unwrap()
    };
    let right = (0..150)
        .filter(|n| nearest(places[&format!("p-{n:03}")]) == n % 3)
        .count();
    assert!(right >= 145, "{right}");
    let trouble = batch.column_by_name("trouble").unwrap();
    let trouble = trouble.as_primitive::<Float64Type>();
    assert_eq!(trouble.iter().flatten().count(), 150);
    // A few more: placed, nothing moves.
    let mut noise = Noise(31);
    let few: Vec<_> = (0..9)
        .map(|n| (format!("few-{n}"), noise.near(n % 3, 0.2), None))
        .collect();
    log(&server, "production", &few);
    let (after, _) = map(&server, "fields=context");
    assert_eq!(after.len(), 219);
    let bits = |at: [f32; 2]| at.map(f32::to_bits);
    assert!(places.iter().all(|(id, at)| bits(after[id]) == bits(*at)));
    let right = (0..9)
        .filter(|n| nearest(after[&format!("few-{n}")]) == n % 3)
        .count();
    assert!(right >= 8, "{right}");
    // Many more: all move on from where they are.
    let many: Vec<_> = (0..60)
        .map(|n| (format!("many-{n}"), noise.near(n % 3, 0.2), None))
        .collect();
    log(&server, "production", &many);
    let (moved, _) = map(&server, "");
    let near_old = places
        .iter()
        .filter(|(id, at)| nearest(moved[*id]) == nearest(**at))
        .count();
    assert!(near_old >= 200 && moved.len() == 279, "{near_old}");
}

#[test]
fn a_map_tells_the_fields_that_are_asked_for() {
    let server = TestServer::start();
    fill(&server, 10, 0);
    let body = json!({
        "space": "digits", "context": "production", "ids": ["m-0", "m-1"],
        "embeddings": [Noise(1).near(0, 0.1), Noise(2).near(1, 0.1)],
        "input_uris": ["m-0", "m-1"], "metadatas": [{"camera": "north", "light": 3}, {"light": 4.5}],
    });
    assert_eq!(server.post("/curation/v1/log", &body).status, 201);
    let (_, batch) = map(&server, "fields=dataset,light,camera,none");
    let row = (0..batch.num_rows())
        .find(|at| {
            batch
                .column_by_name("id")
                .unwrap()
                .as_string::<i32>()
                .value(*at)
                == "m-0"
        })
        .unwrap();
    let light = batch
        .column_by_name("light")
        .unwrap()
        .as_primitive::<Float64Type>()
        .clone();
    assert_eq!((light.value(row), light.iter().flatten().count()), (3.0, 2));
    let camera = batch
        .column_by_name("camera")
        .unwrap()
        .as_string::<i32>()
        .clone();
    assert_eq!(
        (camera.value(row), camera.iter().flatten().count()),
        ("north", 1)
    );
    assert_eq!(batch.num_columns(), 7);
    for own in ["id", "trouble,x", "y"] {
        let answer = server.get(&format!("{SPACE}/map?fields={own}"));
        refused(&answer, 400, "unknown_field", Some("fields"));
    }
    let listed = server.post(&format!("{SPACE}/recommendations"), &json!({"n": 1}));
    assert_eq!(listed.status, 200, "{}", listed.text());
    let first = &listed.json()["recommendations"][0];
    let (_, batch) = map(&server, "fields=priority");
    let ids = batch.column_by_name("id").unwrap().clone();
    let ids = ids.as_string::<i32>();
    let priority = batch.column_by_name("priority").unwrap().clone();
    let priority = priority.as_primitive::<Float64Type>();
    for at in 0..batch.num_rows() {
        if first["id"] == ids.value(at) {
            assert_eq!(json!(priority.value(at)), first["priority"]);
        }
        if ids.value(at).starts_with("t-") {
            assert!(priority.is_null(at), "training is on no list");
        }
    }
    assert!(priority.iter().flatten().count() > 0);
    let many: Vec<String> = (0..21).map(|n| format!("f{n}")).collect();
    let answer = server.get(&format!("{SPACE}/map?fields={}", many.join(",")));
    refused(&answer, 400, "out_of_range", Some("fields"));
    refused(
        &server.get("/curation/v1/spaces/none/map"),
        404,
        "space_not_found",
        Some("space"),
    );
}

#[test]
fn a_part_of_a_map_and_an_even_part_of_its_points_are_told() {
    let server = TestServer::start();
    fill(&server, 100, 0);
    let (all, _) = map(&server, "fields=context");
    let mut across: Vec<f32> = all.values().map(|at| at[0]).collect();
    across.sort_by(f32::total_cmp);
    let [left, right] = [across[20], across[70]];
    let bounds = format!("bounds={left},-1e9,{right},1e9");
    let (part, _) = map(&server, &bounds);
    let mut within = all.clone();
    within.retain(|_, at| (left..=right).contains(&at[0]));
    assert_eq!(part, within);
    let (few, batch) = map(&server, &format!("{bounds}&points=10&fields=context"));
    assert_eq!(few.len(), 10);
    within.retain(|id, _| few.contains_key(id));
    assert_eq!(few, within);
    assert_eq!(batch.schema().metadata()["records"], part.len().to_string());
    // The same again, and all of them among more.
    let (again, _) = map(&server, &format!("{bounds}&points=10"));
    assert_eq!(again, few);
    let (more, _) = map(&server, &format!("{bounds}&points=30"));
    assert!(more.len() == 30 && few.keys().all(|id| more.contains_key(id)));
    let (none, _) = map(&server, "bounds=1e8,0,2e8,1");
    assert!(none.is_empty());
    for (query, field) in [
        ("bounds=1,2,3", "bounds"),
        ("bounds=1,2,0,3", "bounds"),
        ("bounds=a,b,c,d", "bounds"),
        ("points=0", "points"),
        ("points=1000001", "points"),
    ] {
        let answer = server.get(&format!("{SPACE}/map?{query}"));
        refused(&answer, 400, "out_of_range", Some(field));
    }
}
