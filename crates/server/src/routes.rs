//! The table of all routes. The router and `/openapi.json` are both made from it.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::App;
use crate::handlers::{backups, collections, control, namespaces, pages, records, system};

/// One route.
pub(crate) struct Route {
    /// `get`, `post`, `put`, `patch` or `delete`.
    pub(crate) method: &'static str,
    /// The path, names in braces.
    pub(crate) path: &'static str,
    /// A name for programs, unique.
    pub(crate) operation: &'static str,
    /// A sentence for people.
    pub(crate) summary: &'static str,
    /// The schema of the body, if there is one.
    pub(crate) body: Option<&'static str>,
    /// Names in the query string.
    pub(crate) query: &'static [&'static str],
    /// The status of success.
    pub(crate) status: u16,
    /// The schema of the answer; none where it is no JSON.
    pub(crate) answer: Option<&'static str>,
    /// Makes the handler for the method.
    pub(crate) handler: fn(MethodFilter) -> MethodRouter<App>,
}

impl Route {
    /// The method as the router takes it.
    pub(crate) fn filter(&self) -> MethodFilter {
        match self.method {
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "patch" => MethodFilter::PATCH,
            "delete" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        }
    }

    const fn with_body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    const fn with_query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    const fn answers(mut self, status: u16, schema: &'static str) -> Self {
        self.status = status;
        self.answer = Some(schema);
        self
    }
}

/// A route that answers 200 with an empty object until something else is said.
const fn route(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<App>,
) -> Route {
    Route {
        method,
        path,
        operation,
        summary,
        body: None,
        query: &[],
        status: 200,
        answer: Some("Empty"),
        handler,
    }
}

const fn page(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<App>,
) -> Route {
    let mut route = route("get", path, operation, summary, handler);
    route.answer = None;
    route
}

/// Makes `handler` a function of the method alone.
fn with<H, T>(filter: MethodFilter, handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    on(filter, handler)
}

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
    }),
    page(
        "/docs",
        "docs_redirect",
        "Leads to the documentation.",
        |f| with(f, pages::docs_redirect),
    ),
    page("/docs/", "docs", "All operations, for people.", |f| {
        with(f, pages::docs)
    }),
    route(
        "get",
        "/openapi.json",
        "openapi",
        "This description.",
        |f| with(f, pages::openapi),
    )
    .answers(200, "Object"),
    page(
        "/metrics",
        "metrics",
        "Counts and times for Prometheus.",
        |f| with(f, system::metrics_page),
    ),
    route(
        "get",
        "/healthz",
        "healthz",
        "Whether the process runs.",
        |f| with(f, system::healthz),
    )
    .answers(200, "Object"),
    route(
        "get",
        "/readyz",
        "readyz",
        "Whether requests are answered.",
        |f| with(f, system::readyz),
    )
    .answers(200, "Readiness"),
    route(
        "get",
        "/api/v2",
        "root_heartbeat",
        "The server's time.",
        |f| with(f, system::heartbeat),
    )
    .answers(200, "Heartbeat"),
    route(
        "get",
        "/api/v2/heartbeat",
        "heartbeat",
        "The server's time.",
        |f| with(f, system::heartbeat),
    )
    .answers(200, "Heartbeat"),
    route(
        "get",
        "/api/v2/healthcheck",
        "healthcheck",
        "Whether reads and writes are taken.",
        |f| with(f, system::healthcheck),
    )
    .answers(200, "Health"),
    route(
        "get",
        "/api/v2/version",
        "version",
        "The server's version.",
        |f| with(f, system::version),
    )
    .answers(200, "Text"),
    route(
        "get",
        "/api/v2/pre-flight-checks",
        "pre_flight_checks",
        "What clients must keep to.",
        |f| with(f, system::pre_flight_checks),
    )
    .answers(200, "PreFlightChecks"),
    route(
        "get",
        "/api/v2/auth/identity",
        "get_user_identity",
        "Who the client is.",
        |f| with(f, system::identity),
    )
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
    .answers(200, "Tenant"),
    route(
        "patch",
        tenants!("/{tenant}"),
        "update_tenant",
        "Gives a tenant its resource name.",
        |f| with(f, namespaces::update_tenant),
    )
    .with_body("UpdateTenant"),
    route(
        "post",
        tenants!("/{tenant}/databases"),
        "create_database",
        "Makes a database.",
        |f| with(f, namespaces::create_database),
    )
    .with_body("CreateDatabase"),
    route(
        "get",
        tenants!("/{tenant}/databases"),
        "list_databases",
        "Databases by name.",
        |f| with(f, namespaces::list_databases),
    )
    .with_query(PAGES)
    .answers(200, "Databases"),
    route(
        "get",
        tenants!("/{tenant}/databases/{database}"),
        "get_database",
        "A database.",
        |f| with(f, namespaces::get_database),
    )
    .answers(200, "Database"),
    route(
        "delete",
        tenants!("/{tenant}/databases/{database}"),
        "delete_database",
        "Deletes a database and its collections.",
        |f| with(f, namespaces::delete_database),
    ),
    route(
        "post",
        collections!(""),
        "create_collection",
        "Makes or finds a collection.",
        |f| with(f, collections::create),
    )
    .with_body("CreateCollection")
    .answers(200, "Collection"),
    route(
        "get",
        collections!(""),
        "list_collections",
        "Collections by id.",
        |f| with(f, collections::list),
    )
    .with_query(PAGES)
    .answers(200, "Collections"),
    route(
        "get",
        tenants!("/{tenant}/databases/{database}/collections_count"),
        "count_collections",
        "How many collections there are.",
        |f| with(f, collections::count),
    )
    .answers(200, "Count"),
    route(
        "get",
        collections!("/by-id/{collection_id}"),
        "get_collection_by_id",
        "A collection by id.",
        |f| with(f, collections::get_by_id),
    )
    .answers(200, "Collection"),
    route(
        "get",
        collections!("/{collection_id}"),
        "get_collection",
        "A collection by name.",
        |f| with(f, collections::get),
    )
    .answers(200, "Collection"),
    route(
        "put",
        collections!("/{collection_id}"),
        "update_collection",
        "Changes a collection.",
        |f| with(f, collections::update),
    )
    .with_body("UpdateCollection"),
    route(
        "delete",
        collections!("/{collection_id}"),
        "delete_collection",
        "Deletes a collection by name.",
        |f| with(f, collections::delete),
    ),
    route(
        "post",
        collections!("/{collection_id}/fork"),
        "fork_collection",
        "Not served by a single node.",
        |f| with(f, collections::fork),
    )
    .with_body("Object"),
    route(
        "get",
        collections!("/{collection_id}/fork_count"),
        "fork_count",
        "Not served by a single node.",
        |f| with(f, collections::fork_count),
    ),
    route(
        "get",
        collections!("/{collection_id}/indexing_status"),
        "indexing_status",
        "How far searches are behind the log.",
        |f| with(f, collections::indexing_status),
    )
    .answers(200, "IndexingStatus"),
    route(
        "post",
        collections!("/{collection_id}/functions/attach"),
        "attach_function",
        "Not served by a single node.",
        |f| with(f, collections::attach_function),
    )
    .with_body("Object"),
    route(
        "get",
        collections!("/{collection_id}/functions/{function}"),
        "get_attached_function",
        "No function is ever attached.",
        |f| with(f, collections::get_function),
    ),
    route(
        "post",
        collections!("/{collection_id}/attached_functions/{function}/detach"),
        "detach_function",
        "Not served by a single node.",
        |f| with(f, collections::detach_function),
    )
    .with_body("Object"),
    route(
        "post",
        collections!("/{collection_id}/add"),
        "collection_add",
        "Adds records.",
        |f| with(f, records::add),
    )
    .with_body("AddRecords")
    .answers(201, "Written"),
    route(
        "post",
        collections!("/{collection_id}/upsert"),
        "collection_upsert",
        "Adds or changes records.",
        |f| with(f, records::upsert),
    )
    .with_body("UpsertRecords")
    .answers(200, "Written"),
    route(
        "post",
        collections!("/{collection_id}/update"),
        "collection_update",
        "Changes records.",
        |f| with(f, records::update),
    )
    .with_body("UpdateRecords")
    .answers(200, "Written"),
    route(
        "post",
        collections!("/{collection_id}/delete"),
        "collection_delete",
        "Deletes records.",
        |f| with(f, records::delete),
    )
    .with_body("DeleteRecords")
    .answers(200, "Deleted"),
    route(
        "post",
        collections!("/{collection_id}/get"),
        "collection_get",
        "Records in the order they came.",
        |f| with(f, records::get),
    )
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
    .with_query(&["read_level"])
    .answers(200, "Count"),
    route(
        "post",
        collections!("/{collection_id}/search"),
        "collection_search",
        "Not served by a single node.",
        |f| with(f, records::search),
    )
    .with_body("Object"),
    route(
        "get",
        "/control/v1/status",
        "control_status",
        "State, queue and lag of every component.",
        |f| with(f, control::status),
    )
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
    .answers(200, "Jobs"),
    route("get", jobs!("/{job}"), "get_job", "A job.", |f| {
        with(f, control::job)
    })
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
    .with_query(&["job", "limit"])
    .answers(200, "Runs"),
];
