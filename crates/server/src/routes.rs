//! The table of all routes; those that control the server are in `control`, those of curation in
//! `curation`. The router and `/openapi.json` are both made from it.
//!
//! What must stay true: an operation names one route; no path is served that is not here, but for those of the first
//! version of the API, which answer that it is gone.

use crate::access::Need::{AnyKey, Database, Nothing, PartOfTenant, Server, Tenant};
use crate::access::Role::{Admin, Read, Write};
use crate::handlers::{collections, conditional, namespaces, pages, records, system};
use crate::pace::{MIN_SEQ_ID, WAIT_MS, WAIT_MS_MAX};

mod control;
mod curation;
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

/// What the paths of the control routes begin with.
pub(crate) const CONTROL: &str = "/control/";
/// What those of curation begin with; their tenant and database may stand in headers.
pub(crate) const CURATION: &str = "/curation/";

/// The headers of a read that say what it must see.
const SEES: &[(&str, u64, &str)] = &[
    (MIN_SEQ_ID, u64::MAX, "The SeqId that the answer must hold."),
    (
        WAIT_MS,
        WAIT_MS_MAX,
        "Milliseconds that the read may wait until it does; 504 after that.",
    ),
];

const PAGES: &[&str] = &["limit", "offset"];

/// Every route but those of the first version of the API, which is gone.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    let curation = curation::ROUTES.iter().chain(curation::SERVICE);
    ROUTES.iter().chain(control::ROUTES).chain(curation)
}

const ROUTES: &[Route] = &[
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
        "/local-socket",
        "local_socket",
        "Where clients on the server's own machine find its Unix socket.",
        |f| with(f, system::local_socket),
    )
    .needs(AnyKey)
    .answers(200, "LocalSocket"),
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
        "get",
        "/api/v2/collections/{crn}",
        "get_collection_by_crn",
        "A collection by resource name.",
        |f| with(f, collections::get_by_crn),
    )
    .needs(AnyKey)
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
        "Makes a collection of what another is now, at once, however large it is.",
        |f| with(f, collections::fork),
    )
    .needs(Database(Write))
    .with_body("ForkCollection")
    .answers(200, "Collection"),
    route(
        "get",
        collections!("/{collection_id}/fork_count"),
        "fork_count",
        "How many collections of this lineage were made by forks.",
        |f| with(f, collections::fork_count),
    )
    .needs(Database(Read))
    .answers(200, "ForkCount"),
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
        "Has a new collection hold what a function comes to of this one.",
        |f| with(f, collections::attach_function),
    )
    .needs(Database(Write))
    .with_body("AttachFunction")
    .answers(200, "FunctionAttached"),
    route(
        "get",
        collections!("/{collection_id}/functions/{function}"),
        "get_attached_function",
        "A function that is attached to a collection.",
        |f| with(f, collections::get_function),
    )
    .needs(Database(Read))
    .answers(200, "AttachedFunction"),
    route(
        "post",
        collections!("/{collection_id}/attached_functions/{function}/add_input"),
        "add_function_input",
        "Says that the function takes one input, as all functions do that there are.",
        |f| with(f, collections::add_function_input),
    )
    .needs(Database(Write))
    .with_body("Object")
    .answers(400, "Error"),
    route(
        "post",
        collections!("/{collection_id}/attached_functions/{function}/detach"),
        "detach_function",
        "Detaches a function, and deletes its output where that is asked for.",
        |f| with(f, collections::detach_function),
    )
    .needs(Database(Write))
    .with_body("DetachFunction")
    .answers(200, "Success"),
    route(
        "post",
        collections!("/{collection_id}/add"),
        "collection_add",
        "Adds records.",
        |f| with(f, records::add),
    )
    .needs(Database(Write))
    .with_body("AddRecords")
    .taking_arrow()
    .telling_seqs()
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
    .taking_arrow()
    .telling_seqs()
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
    .taking_arrow()
    .telling_seqs()
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
    .telling_seqs()
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
    .with_headers(SEES)
    .answers(200, "Records")
    .answering_arrow(),
    route(
        "post",
        collections!("/{collection_id}/conditional/get"),
        "conditional_get",
        "Records, with a token under which a write may follow.",
        |f| with(f, conditional::get),
    )
    .needs(Database(Read))
    .with_body("ConditionalGet")
    .with_query(&["read_level"])
    .with_headers(SEES)
    .answers(200, "ConditionalRecords"),
    route(
        "post",
        collections!("/{collection_id}/conditional/commit"),
        "conditional_commit",
        "Writes, all or nothing, unless a record that was read has been written since.",
        |f| with(f, conditional::commit),
    )
    .needs(Database(Write))
    .with_body("ConditionalCommit")
    .telling_seqs()
    .answers(200, "Committed"),
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
    .with_headers(SEES)
    .answers(200, "NearestRecords")
    .answering_arrow(),
    route(
        "get",
        collections!("/{collection_id}/count"),
        "collection_count",
        "How many records there are.",
        |f| with(f, records::count),
    )
    .needs(Database(Read))
    .with_query(&["read_level"])
    .with_headers(SEES)
    .answers(200, "Count"),
    route(
        "post",
        collections!("/{collection_id}/count"),
        "collection_count_selected",
        "How many records a selection means.",
        |f| with(f, records::count_selected),
    )
    .needs(Database(Read))
    .with_body("CountRecords")
    .with_query(&["read_level"])
    .with_headers(SEES)
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
    .with_headers(SEES)
    .answers(200, "FoundRecords")
    .answering_arrow(),
];
