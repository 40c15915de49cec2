//! The table of all routes. The router and `/openapi.json` are both made from it.

use crate::access::Need::{AnyKey, Database, Nothing, PartOfTenant, Server, Tenant};
use crate::access::Role::{Admin, Read, Write};
use crate::handlers::{backups, collections, control, namespaces, pages, records, system};

mod route;

pub(crate) use route::Route;
use route::{page, route, with};

macro_rules! tenants {
    ($rest:literal) => {
        concat!("/api/v2/tenants", $rest)
    };
}

macro_rules! collections {
    ($rest:literal) => {
        concat!(
            "/api/v2/tenants/{tenant}/databases/{database}/collections",
            $rest
        )
    };
}

macro_rules! jobs {
    ($rest:literal) => {
        concat!("/control/v1/jobs", $rest)
    };
}

macro_rules! components {
    ($rest:literal) => {
        concat!("/control/v1/components/{component}", $rest)
    };
}

const PAGES: &[&str] = &["limit", "offset"];

/// Every route but those of the first version of the API, which is gone.
pub(crate) const ROUTES: &[Route] = &[
    page("/", "root", "A page that says what this is.", |f| {
        with(f, pages::root)
    })
    .needs(Nothing),
    page(
        "/docs",
        "docs_redirect",
        "Leads to the documentation.",
        |f| with(f, pages::docs_redirect),
    )
    .needs(AnyKey),
    page("/docs/", "docs", "All operations, for people.", |f| {
        with(f, pages::docs)
    })
    .needs(AnyKey),
    route(
        "get",
        "/openapi.json",
        "openapi",
        "This description.",
        |f| with(f, pages::openapi),
    )
    .needs(AnyKey)
    .answers(200, "Object"),
    page(
        "/metrics",
        "metrics",
        "Counts and times for Prometheus.",
        |f| with(f, system::metrics_page),
    )
    .needs(Server(Read)),
    route(
        "get",
        "/healthz",
        "healthz",
        "Whether the process runs.",
        |f| with(f, system::healthz),
    )
    .needs(Nothing)
    .answers(200, "Object"),
    route(
        "get",
        "/readyz",
        "readyz",
        "Whether requests are answered.",
        |f| with(f, system::readyz),
    )
    .needs(Nothing)
    .answers(200, "Readiness"),
    route(
        "get",
        "/api/v2",
        "root_heartbeat",
        "The server's time.",
        |f| with(f, system::heartbeat),
    )
    .needs(Nothing)
    .answers(200, "Heartbeat"),
    route(
        "get",
        "/api/v2/heartbeat",
        "heartbeat",
        "The server's time.",
        |f| with(f, system::heartbeat),
    )
    .needs(Nothing)
    .answers(200, "Heartbeat"),
    route(
        "get",
        "/api/v2/healthcheck",
        "healthcheck",
        "Whether reads and writes are taken.",
        |f| with(f, system::healthcheck),
    )
    .needs(Nothing)
    .answers(200, "Health"),
    route(
        "get",
        "/api/v2/version",
        "version",
        "The server's version.",
        |f| with(f, system::version),
    )
    .needs(Nothing)
    .answers(200, "Text"),
    route(
        "get",
        "/api/v2/pre-flight-checks",
        "pre_flight_checks",
        "What clients must keep to.",
        |f| with(f, system::pre_flight_checks),
    )
    .needs(Nothing)
    .answers(200, "PreFlightChecks"),
    route(
        "get",
        "/api/v2/auth/identity",
        "get_user_identity",
        "Who the client is.",
        |f| with(f, system::identity),
    )
    .needs(AnyKey)
    .answers(200, "Identity"),
    route(
        "post",
        "/api/v2/reset",
        "reset",
        "Deletes everything, if the server allows it.",
        |f| with(f, system::reset),
    )
    .answers(200, "Boolean"),
    route(
        "post",
        "/control/v1/backups",
        "make_backup",
        "Makes a backup in a folder of the setting backup_folder.",
        |f| with(f, backups::make),
    )
    .with_body("MakeBackup")
    .answers(200, "Backup"),
    route(
        "get",
        "/api/v2/collections/{crn}",
        "get_collection_by_crn",
        "A collection by resource name.",
        |f| with(f, collections::get_by_crn),
    )
    .needs(Server(Read))
    .answers(200, "Collection"),
    route(
        "post",
        tenants!(""),
        "create_tenant",
        "Makes a tenant.",
        |f| with(f, namespaces::create_tenant),
    )
    .with_body("CreateTenant"),
    route(
        "get",
        tenants!("/{tenant}"),
        "get_tenant",
        "A tenant.",
        |f| with(f, namespaces::get_tenant),
    )
    .needs(PartOfTenant(Read))
    .answers(200, "Tenant"),
    route(
        "patch",
        tenants!("/{tenant}"),
        "update_tenant",
        "Gives a tenant its resource name.",
        |f| with(f, namespaces::update_tenant),
    )
    .needs(Tenant(Admin))
    .with_body("UpdateTenant"),
    route(
        "post",
        tenants!("/{tenant}/databases"),
        "create_database",
        "Makes a database.",
        |f| with(f, namespaces::create_database),
    )
    .needs(Tenant(Admin))
    .with_body("CreateDatabase"),
    route(
        "get",
        tenants!("/{tenant}/databases"),
        "list_databases",
        "Databases by name.",
        |f| with(f, namespaces::list_databases),
    )
    .needs(Tenant(Read))
    .with_query(PAGES)
    .answers(200, "Databases"),
    route(
        "get",
        tenants!("/{tenant}/databases/{database}"),
        "get_database",
        "A database.",
        |f| with(f, namespaces::get_database),
    )
    .needs(Database(Read))
    .answers(200, "Database"),
    route(
        "delete",
        tenants!("/{tenant}/databases/{database}"),
        "delete_database",
        "Deletes a database and its collections.",
        |f| with(f, namespaces::delete_database),
    )
    .needs(Database(Admin)),
    route(
        "post",
        collections!(""),
        "create_collection",
        "Makes or finds a collection.",
        |f| with(f, collections::create),
    )
    .needs(Database(Write))
    .with_body("CreateCollection")
    .answers(200, "Collection"),
    route(
        "get",
        collections!(""),
        "list_collections",
        "Collections by id.",
        |f| with(f, collections::list),
    )
    .needs(Database(Read))
    .with_query(PAGES)
    .answers(200, "Collections"),
    route(
        "get",
        tenants!("/{tenant}/databases/{database}/collections_count"),
        "count_collections",
        "How many collections there are.",
        |f| with(f, collections::count),
    )
    .needs(Database(Read))
    .answers(200, "Count"),
    route(
        "get",
        collections!("/by-id/{collection_id}"),
        "get_collection_by_id",
        "A collection by id.",
        |f| with(f, collections::get_by_id),
    )
    .needs(Database(Read))
    .answers(200, "Collection"),
    route(
        "get",
        collections!("/{collection_id}"),
        "get_collection",
        "A collection by name.",
        |f| with(f, collections::get),
    )
    .needs(Database(Read))
    .answers(200, "Collection"),
    route(
        "put",
        collections!("/{collection_id}"),
        "update_collection",
        "Changes a collection.",
        |f| with(f, collections::update),
    )
    .needs(Database(Write))
    .with_body("UpdateCollection"),
    route(
        "delete",
        collections!("/{collection_id}"),
        "delete_collection",
        "Deletes a collection by name.",
        |f| with(f, collections::delete),
    )
    .needs(Database(Write)),
    route(
        "post",
        collections!("/{collection_id}/fork"),
        "fork_collection",
        "Not served by a single node.",
        |f| with(f, collections::fork),
    )
    .needs(Database(Write))
    .with_body("Object"),
    route(
        "get",
        collections!("/{collection_id}/fork_count"),
        "fork_count",
        "Not served by a single node.",
        |f| with(f, collections::fork_count),
    )
    .needs(Database(Read)),
    route(
        "get",
        collections!("/{collection_id}/indexing_status"),
        "indexing_status",
        "How far searches are behind the log.",
        |f| with(f, collections::indexing_status),
    )
    .needs(Database(Read))
    .answers(200, "IndexingStatus"),
    route(
        "post",
        collections!("/{collection_id}/functions/attach"),
        "attach_function",
        "Not served by a single node.",
        |f| with(f, collections::attach_function),
    )
    .needs(Database(Write))
    .with_body("Object"),
    route(
        "get",
        collections!("/{collection_id}/functions/{function}"),
        "get_attached_function",
        "No function is ever attached.",
        |f| with(f, collections::get_function),
    )
    .needs(Database(Read)),
    route(
        "post",
        collections!("/{collection_id}/attached_functions/{function}/detach"),
        "detach_function",
        "Not served by a single node.",
        |f| with(f, collections::detach_function),
    )
    .needs(Database(Write))
    .with_body("Object"),
    route(
        "post",
        collections!("/{collection_id}/add"),
        "collection_add",
        "Adds records.",
        |f| with(f, records::add),
    )
    .needs(Database(Write))
    .with_body("AddRecords")
    .answers(201, "Written"),
    route(
        "post",
        collections!("/{collection_id}/upsert"),
        "collection_upsert",
        "Adds or changes records.",
        |f| with(f, records::upsert),
    )
    .needs(Database(Write))
    .with_body("UpsertRecords")
    .answers(200, "Written"),
    route(
        "post",
        collections!("/{collection_id}/update"),
        "collection_update",
        "Changes records.",
        |f| with(f, records::update),
    )
    .needs(Database(Write))
    .with_body("UpdateRecords")
    .answers(200, "Written"),
    route(
        "post",
        collections!("/{collection_id}/delete"),
        "collection_delete",
        "Deletes records.",
        |f| with(f, records::delete),
    )
    .needs(Database(Write))
    .with_body("DeleteRecords")
    .answers(200, "Deleted"),
    route(
        "post",
        collections!("/{collection_id}/get"),
        "collection_get",
        "Records in the order they came.",
        |f| with(f, records::get),
    )
    .needs(Database(Read))
    .with_body("GetRecords")
    .with_query(&["read_level"])
    .answers(200, "Records"),
    route(
        "post",
        collections!("/{collection_id}/query"),
        "collection_query",
        "The nearest records.",
        |f| with(f, records::query),
    )
    .needs(Database(Read))
    .with_body("QueryRecords")
    .with_query(&["read_level"])
    .answers(200, "NearestRecords"),
    route(
        "get",
        collections!("/{collection_id}/count"),
        "collection_count",
        "How many records there are.",
        |f| with(f, records::count),
    )
    .needs(Database(Read))
    .with_query(&["read_level"])
    .answers(200, "Count"),
    route(
        "post",
        collections!("/{collection_id}/search"),
        "collection_search",
        "Records by filters, ranked by expressions of vectors.",
        |f| with(f, records::search),
    )
    .needs(Database(Read))
    .with_body("SearchRecords")
    .with_query(&["read_level"])
    .answers(200, "FoundRecords"),
    route(
        "get",
        "/control/v1/status",
        "control_status",
        "State, queue and lag of every component.",
        |f| with(f, control::status),
    )
    .needs(Server(Read))
    .answers(200, "ControlStatus"),
    route(
        "post",
        components!("/pause"),
        "pause_component",
        "Lets a component do nothing from now on.",
        |f| with(f, control::pause_component),
    )
    .answers(200, "Component"),
    route(
        "post",
        components!("/resume"),
        "resume_component",
        "Lets a component work again.",
        |f| with(f, control::resume_component),
    )
    .answers(200, "Component"),
    route(
        "post",
        components!("/drain"),
        "drain_component",
        "Has a component finish what it has begun, then pauses it.",
        |f| with(f, control::drain_component),
    )
    .with_body("Drain")
    .answers(200, "Drained"),
    route("get", jobs!(""), "list_jobs", "Every job, by name.", |f| {
        with(f, control::jobs)
    })
    .needs(Server(Read))
    .answers(200, "Jobs"),
    route("get", jobs!("/{job}"), "get_job", "A job.", |f| {
        with(f, control::job)
    })
    .needs(Server(Read))
    .answers(200, "Job"),
    route(
        "put",
        jobs!("/{job}"),
        "put_job",
        "Makes or changes a job.",
        |f| with(f, control::put_job),
    )
    .with_body("PutJob")
    .answers(200, "Job"),
    route(
        "delete",
        jobs!("/{job}"),
        "delete_job",
        "Forgets a job and its history.",
        |f| with(f, control::delete_job),
    ),
    route(
        "post",
        jobs!("/{job}/run"),
        "run_job",
        "Runs a job now; 202 with its number where the answer does not wait.",
        |f| with(f, control::run_job),
    )
    .with_body("RunJob")
    .answers(200, "Run"),
    route(
        "post",
        jobs!("/{job}/cancel"),
        "cancel_job",
        "Asks the run of a job to end.",
        |f| with(f, control::cancel_job),
    ),
    route(
        "post",
        jobs!("/{job}/pause"),
        "pause_job",
        "Keeps a job from running by itself.",
        |f| with(f, control::pause_job),
    )
    .answers(200, "Job"),
    route(
        "post",
        jobs!("/{job}/resume"),
        "resume_job",
        "Lets a job run by itself again.",
        |f| with(f, control::resume_job),
    )
    .answers(200, "Job"),
    route(
        "post",
        "/control/v1/run-due",
        "begin_due_jobs",
        "Begins jobs that are due, as many as may run at once.",
        |f| with(f, control::begin_due_jobs),
    )
    .answers(200, "Begun"),
    route(
        "get",
        "/control/v1/history",
        "job_history",
        "The newest runs, newest first.",
        |f| with(f, control::history),
    )
    .needs(Server(Read))
    .with_query(&["job", "limit"])
    .answers(200, "Runs"),
];
