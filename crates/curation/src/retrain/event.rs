//! What workers and receivers are told of a retraining.
//!
//! What must stay true: it is the same whenever it is told, byte for byte, since it is made of what was
//! stored when the retraining began; paths in it begin at the server's root.

use serde_json::{Value as Json, json};
use vermilion_engine::model::Collection;
use vermilion_protocol::ascii::encoded;

use super::run::Run;

/// The event of a retraining of the space that `collection` is.
pub(super) fn event(run: &Run, collection: &Collection, embedding_set: &Json) -> Json {
    json!({
        "event": "retraining",
        "event_id": run.event_id,
        "retraining": run.id,
        "space": run.space,
        "embedding_set": embedding_set,
        "trigger": run.trigger,
        "reason": run.reason,
        "fired_at": run.fired_at,
        "as_of_seq": run.as_of_seq,
        "epoch": run.epoch,
        "previous": run.previous,
        "links": links(run, collection),
    })
}

/// Where everything is that a worker needs.
pub(super) fn links(run: &Run, collection: &Collection) -> Json {
    let (tenant, database) = (encoded(&collection.tenant), encoded(&collection.database));
    let curation = format!("/curation/v1/tenants/{tenant}/databases/{database}");
    let own = format!("{curation}/retrainings/{}", run.id);
    let space = format!("{curation}/spaces/{}", encoded(&collection.name));
    let records = format!(
        "/api/v2/tenants/{tenant}/databases/{database}/collections/{}/get",
        collection.id
    );
    json!({
        "retraining": own,
        "claim": format!("{own}/claim"),
        "heartbeat": format!("{own}/heartbeat"),
        "complete": format!("{own}/complete"),
        "fail": format!("{own}/fail"),
        "label_overrides": format!("{own}/overrides"),
        "space": space,
        "recommendations": format!("{space}/recommendations"),
        "export": format!("{space}/export?what=training"),
        "training_set": {
            "method": "POST",
            "path": records,
            "body": {
                "where": {"context": "training"},
                "include": ["embeddings", "metadatas", "uris"],
            },
        },
    })
}
