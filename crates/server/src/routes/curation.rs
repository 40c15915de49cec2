//! The routes of curation, each in two forms: with the tenant and the database in the path, and
//! without, where headers name them or the default ones are meant.

use super::PAGES;
use super::route::{Route, route, with};
use crate::access::Need::{Database, Server};
use crate::access::Role::{Read, Write};
use crate::handlers::{
    curation as handlers, export, findings, retention, retraining, roll_up, service,
};

/// What may also stand in the query string of a log.
const OF_A_BATCH: &[&str] = &[
    "space",
    "embedding_set",
    "context",
    "dataset",
    "metric",
    "class_names",
    "idempotency_key",
    "assess",
];

/// What may stand in the query string of issues.
const OF_ISSUES: &[&str] = &[
    "type",
    "offset",
    "limit",
    "all",
    "threshold",
    "ids_limit",
    "ids_offset",
];

macro_rules! both_forms {
    ($($method:literal $rest:literal $operation:literal $summary:literal $handler:path
        { $($more:tt)* })*) => {
        &[$(
            route(
                $method,
                concat!("/curation/v1", $rest),
                concat!("curation_", $operation),
                $summary,
                |f| with(f, $handler),
            )
            $($more)*,
            route(
                $method,
                concat!("/curation/v1/tenants/{tenant}/databases/{database}", $rest),
                concat!("curation_", $operation, "_in_database"),
                $summary,
                |f| with(f, $handler),
            )
            $($more)*,
        )*]
    };
}

/// What is of the whole server; one that does not say what it needs is for administrators.
pub(super) const SERVICE: &[Route] = &[
    route(
        "get",
        "/curation/v1/status",
        "curation_status",
        "State, queue and lag of what works for curation.",
        |f| with(f, service::status),
    )
    .needs(Server(Read))
    .answers(200, "Object"),
    route(
        "post",
        "/curation/v1/service/{component}/pause",
        "curation_pause",
        "Lets a component of curation do nothing by itself from now on.",
        |f| with(f, service::pause),
    )
    .answers(200, "Object"),
    route(
        "post",
        "/curation/v1/service/{component}/resume",
        "curation_resume",
        "Lets a component of curation work again.",
        |f| with(f, service::resume),
    )
    .answers(200, "Object"),
    route(
        "post",
        "/curation/v1/service/{component}/run",
        "curation_run",
        "Has a component of curation do at once what waits for it.",
        |f| with(f, service::run),
    )
    .answers(200, "Object"),
    route(
        "get",
        "/curation/v1/jobs",
        "curation_jobs",
        "The jobs of curation.",
        |f| with(f, service::jobs),
    )
    .needs(Server(Read))
    .answers(200, "Object"),
    route(
        "post",
        "/curation/v1/jobs/{job}/cancel",
        "curation_cancel",
        "Asks the run of a job of curation to end.",
        |f| with(f, service::cancel),
    )
    .answers(200, "Object"),
];

/// Each begins with [`super::CURATION`].
pub(super) const ROUTES: &[Route] = both_forms! {
    "post" "/log" "log" "Logs records of a model into their space." handlers::log {
        .needs(Database(Write))
        .with_body("LogRecords")
        .taking_arrow()
        .taking_lines()
        .with_query(OF_A_BATCH)
        .answers(201, "LoggedRecords")
        .or_accepts("LoggedRecords")
    }
    "get" "/spaces" "list_spaces" "Spaces by name." handlers::list_spaces {
        .needs(Database(Read))
        .with_query(PAGES)
        .answers(200, "CurationSpaces")
    }
    "get" "/spaces/{space}" "get_space" "A space by name or key." handlers::get_space {
        .needs(Database(Read))
        .answers(200, "CurationSpace")
    }
    "delete" "/spaces/{space}" "delete_space" "Deletes a space with its records."
        handlers::delete_space {
        .needs(Database(Write))
    }
    "post" "/spaces/{space}/recommendations" "recommend"
        "What to label next, in descending priority." handlers::recommend {
        .needs(Database(Read))
        .with_body("AskRecommendations")
        .or_no_body()
        .answers(200, "Recommendations")
        .or_accepts("Recommendations")
    }
    "get" "/recommendations" "recommend_simply" "The same, asked in the query string."
        handlers::recommend_simply {
        .needs(Database(Read))
        .with_query(&["space", "filter", "skip", "limit"])
        .answers(200, "Recommendations")
        .or_accepts("Recommendations")
    }
    "get" "/spaces/{space}/records/{record}/explain" "explain_record"
        "All that is known of one record, in numbers and words." handlers::explain {
        .needs(Database(Read))
        .answers(200, "Object")
    }
    "get" "/spaces/{space}/records/{record}/thumbnail" "thumbnail"
        "The small picture that was logged with a record." handlers::thumbnail {
        .needs(Database(Read))
        .answering_no_json()
    }
    "get" "/spaces/{space}/report" "report" "All that is told of a space, on one page."
        findings::report {
        .needs(Database(Read))
        .with_query(&["format"])
        .answers(200, "Object")
        .answering_pages()
    }
    "post" "/spaces/{space}/assess" "assess" "Scores vectors without storing them."
        handlers::assess {
        .needs(Database(Read))
        .with_body("AssessVectors")
        .answers(200, "Object")
    }
    "post" "/spaces/{space}/decisions" "decide" "Notes what people did with recommendations."
        handlers::decide {
        .needs(Database(Write))
        .with_body("Decisions")
        .answers(200, "Decided")
    }
    "post" "/spaces/{space}/labels" "label" "Sets labels, and moves records to training data."
        handlers::label {
        .needs(Database(Write))
        .with_body("Labels")
        .answers(200, "Decided")
    }
    "post" "/spaces/{space}/triggers" "add_trigger" "Makes a trigger; its secret is told now only."
        retraining::add_trigger {
        .needs(Database(Write))
        .with_body("NewRetrainingTrigger")
        .answers(201, "RetrainingTrigger")
    }
    "get" "/spaces/{space}/triggers" "list_triggers" "Triggers of a space."
        retraining::list_triggers {
        .needs(Database(Read))
        .with_query(PAGES)
        .answers(200, "RetrainingTriggers")
    }
    "get" "/spaces/{space}/triggers/{trigger}" "get_trigger" "A trigger, and how it was judged last."
        retraining::get_trigger {
        .needs(Database(Read))
        .answers(200, "RetrainingTrigger")
    }
    "delete" "/spaces/{space}/triggers/{trigger}" "delete_trigger" "Deletes a trigger."
        retraining::delete_trigger {
        .needs(Database(Write))
    }
    "post" "/spaces/{space}/retrainings" "fire_retraining" "Begins a retraining."
        retraining::fire {
        .needs(Database(Write))
        .with_body("FireRetraining")
        .or_no_body()
        .answers(201, "Retraining")
    }
    "get" "/spaces/{space}/retrainings" "list_retrainings" "Retrainings of a space, newest first."
        retraining::list {
        .needs(Database(Read))
        .with_query(&["state", "trigger", "limit", "offset"])
        .answers(200, "Retrainings")
    }
    "post" "/spaces/{space}/retrainings/claim" "claim_next_retraining"
        "Takes the retraining that has waited longest." retraining::claim_next {
        .needs(Database(Write))
        .with_body("ClaimRetraining")
        .or_no_body()
        .answers(200, "ClaimedRetraining")
    }
    "get" "/retrainings/{retraining}" "get_retraining" "All that is known of a retraining."
        retraining::get {
        .needs(Database(Read))
        .answers(200, "Retraining")
    }
    "get" "/retrainings/{retraining}/overrides" "label_overrides" "Labels that people set."
        retraining::overrides {
        .needs(Database(Read))
        .with_query(PAGES)
        .answers(200, "LabelOverrides")
    }
    "post" "/retrainings/{retraining}/claim" "claim_retraining" "Takes a retraining."
        retraining::claim {
        .needs(Database(Write))
        .with_body("ClaimRetraining")
        .or_no_body()
        .answers(200, "ClaimedRetraining")
    }
    "post" "/retrainings/{retraining}/heartbeat" "keep_retraining" "Keeps a lease."
        retraining::heartbeat {
        .needs(Database(Write))
        .with_body("KeepRetraining")
        .answers(200, "Retraining")
    }
    "post" "/retrainings/{retraining}/complete" "complete_retraining" "Ends a retraining well."
        retraining::complete {
        .needs(Database(Write))
        .with_body("CompleteRetraining")
        .answers(200, "Retraining")
    }
    "post" "/retrainings/{retraining}/fail" "fail_retraining" "Ends a retraining badly."
        retraining::fail {
        .needs(Database(Write))
        .with_body("FailRetraining")
        .answers(200, "Retraining")
    }
    "post" "/retrainings/{retraining}/cancel" "cancel_retraining" "Calls a retraining off."
        retraining::cancel {
        .needs(Database(Write))
        .answers(200, "Retraining")
    }
    "get" "/spaces/{space}/issues" "list_issues" "What is wrong with the data, worst first."
        findings::issues {
        .needs(Database(Read))
        .with_query(OF_ISSUES)
        .answers(200, "CurationIssues")
    }
    "get" "/spaces/{space}/signals" "trouble_signals" "How much each signal counts in trouble, and why."
        findings::signals {
        .needs(Database(Read))
        .answers(200, "CurationSignals")
    }
    "get" "/spaces/{space}/confusion" "confusion" "How often labels go with inferences."
        findings::confusion {
        .needs(Database(Read))
        .with_query(&["dataset", "context", "where", "offset", "limit"])
        .answers(200, "CurationConfusion")
    }
    "get" "/spaces/{space}/drift" "drift" "Whether production has moved, since when and where to."
        findings::drift {
        .needs(Database(Read))
        .with_query(&["from", "to", "window", "reference", "by", "bucket", "alpha"])
        .answers(200, "CurationDrift")
    }
    "get" "/spaces/{space}/retention" "get_retention" "What a space keeps, and what would leave."
        retention::get {
        .needs(Database(Read))
        .answers(200, "Object")
    }
    "put" "/spaces/{space}/retention" "put_retention" "Says what a space keeps."
        retention::put {
        .needs(Database(Write))
        .with_body("Retention")
        .or_no_body()
        .answers(200, "Object")
    }
    "delete" "/spaces/{space}/retention" "delete_retention" "Lets a space keep everything."
        retention::delete {
        .needs(Database(Write))
        .answers(200, "Object")
    }
    "post" "/spaces/{space}/expire" "expire" "Lets leave now what is past its time."
        retention::expire {
        .needs(Database(Write))
        .with_body("Expire")
        .or_no_body()
        .answers(200, "Object")
    }
    "delete" "/spaces/{space}/datasets/{dataset}" "delete_dataset"
        "Deletes a dataset with its records." retention::delete_dataset {
        .needs(Database(Write))
        .answers(200, "Object")
    }
    "get" "/spaces/{space}/cold" "cold_files" "Training that left the space, as files."
        retention::cold_files {
        .needs(Database(Read))
        .with_query(&["dataset", "offset", "limit"])
        .answers(200, "Object")
    }
    "get" "/spaces/{space}/cold/{file}" "cold_file" "A file of training that left the space."
        retention::cold_file {
        .needs(Database(Read))
        .answering_no_json()
    }
    "delete" "/spaces/{space}/cold/{file}" "delete_cold_file"
        "Deletes a file of training that left the space." retention::delete_cold_file {
        .needs(Database(Write))
        .answers(200, "Object")
    }
    "get" "/spaces/{space}/roll_up" "get_roll_up" "The records of a space as files." roll_up::get {
        .needs(Database(Read))
        .with_query(&["offset", "limit"])
        .answers(200, "Object")
    }
    "put" "/spaces/{space}/roll_up" "put_roll_up" "Has a space rolled up to files." roll_up::put {
        .needs(Database(Write))
        .answers(200, "Object")
    }
    "delete" "/spaces/{space}/roll_up" "delete_roll_up"
        "Ends the roll-up of a space, and deletes its files." roll_up::delete {
        .needs(Database(Write))
        .answers(200, "Object")
    }
    "get" "/spaces/{space}/roll_up/{file}" "roll_up_file" "A file of records of a space."
        roll_up::file {
        .needs(Database(Read))
        .answering_no_json()
    }
    "get" "/spaces/{space}/export" "export" "Exports the list, issues, training data or all records."
        export::export {
        .needs(Database(Read))
        .with_query(&["what", "format", "context", "dataset", "where"])
        .answering_no_json()
    }
    "get" "/spaces/{space}/map" "map" "Records as points of a plane, as Arrow." findings::map {
        .needs(Database(Read))
        .with_query(&["fields", "bounds", "points"])
        .answering_no_json()
        .or_accepts("Object")
    }
    "get" "/embeddingsets" "list_embedding_sets" "Embedding sets, with their keys and spaces."
        handlers::embedding_sets {
        .needs(Database(Read))
        .with_query(PAGES)
        .answers(200, "EmbeddingSets")
    }
};
