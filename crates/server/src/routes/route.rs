//! What is known of one route, and how it is said in the table.
//!
//! What must stay true: a route that does not say what it needs is for administrators only; a table with a method that
//! there is not does not compile.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::access::{Need, Role};
use crate::app::App;

/// One route.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that a route may do besides"
)]
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
    /// Whether the body must be there.
    pub(crate) needs_body: bool,
    /// Whether the body may also be a stream of Arrow.
    pub(crate) takes_arrow: bool,
    /// Whether the body may also be lines of JSON.
    pub(crate) takes_lines: bool,
    /// Names in the query string.
    pub(crate) query: &'static [&'static str],
    /// Names of headers, each with its largest number and what it means.
    pub(crate) headers: &'static [(&'static str, u64, &'static str)],
    /// Whether the answer has the headers that tell which SeqIds were written.
    pub(crate) tells_seqs: bool,
    /// The status of success.
    pub(crate) status: u16,
    /// The schema of the answer; none where it is no JSON.
    pub(crate) answer: Option<&'static str>,
    /// The schema of an answer with the status 202, where one may come in place of success.
    pub(crate) accepted: Option<&'static str>,
    /// Whether the answer is a stream of Arrow for whoever likes that better.
    pub(crate) answers_arrow: bool,
    /// Whether the answer is a page of HTML or Markdown where the query string says so.
    pub(crate) answers_pages: bool,
    /// What it asks of whoever uses it; unless it says so, an administrator of the whole server.
    pub(crate) needs: Need,
    /// Makes the handler for the method.
    pub(crate) handler: fn(MethodFilter) -> MethodRouter<App>,
}

impl Route {
    /// The method as the router takes it.
    pub(crate) fn filter(&self) -> MethodFilter {
        match self.method {
            "get" => MethodFilter::GET,
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "patch" => MethodFilter::PATCH,
            "delete" => MethodFilter::DELETE,
            _ => unreachable!("`route` takes no other method"),
        }
    }

    pub(super) const fn with_body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    pub(super) const fn or_no_body(mut self) -> Self {
        self.needs_body = false;
        self
    }

    pub(super) const fn taking_arrow(mut self) -> Self {
        self.takes_arrow = true;
        self
    }

    pub(super) const fn taking_lines(mut self) -> Self {
        self.takes_lines = true;
        self
    }

    pub(super) const fn answering_arrow(mut self) -> Self {
        self.answers_arrow = true;
        self
    }

    pub(super) const fn answering_pages(mut self) -> Self {
        self.answers_pages = true;
        self
    }

    /// Answers something that is no JSON.
    pub(super) const fn answering_no_json(mut self) -> Self {
        self.answer = None;
        self
    }

    pub(super) const fn needs(mut self, needs: Need) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn with_query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    pub(super) const fn with_headers(
        mut self,
        headers: &'static [(&'static str, u64, &'static str)],
    ) -> Self {
        self.headers = headers;
        self
    }

    pub(super) const fn telling_seqs(mut self) -> Self {
        self.tells_seqs = true;
        self
    }

    pub(super) const fn or_accepts(mut self, schema: &'static str) -> Self {
        self.accepted = Some(schema);
        self
    }

    pub(super) const fn answers(mut self, status: u16, schema: &'static str) -> Self {
        self.status = status;
        self.answer = Some(schema);
        self
    }
}

/// A route that answers 200 with an empty object until something else is said.
pub(super) const fn route(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<App>,
) -> Route {
    assert!(
        matches!(
            method.as_bytes(),
            b"get" | b"post" | b"put" | b"patch" | b"delete"
        ),
        "a route has a method of HTTP, in small letters"
    );
    Route {
        method,
        path,
        operation,
        summary,
        body: None,
        needs_body: true,
        takes_arrow: false,
        takes_lines: false,
        query: &[],
        headers: &[],
        tells_seqs: false,
        status: 200,
        answer: Some("Empty"),
        accepted: None,
        answers_arrow: false,
        answers_pages: false,
        needs: Need::Server(Role::Admin),
        handler,
    }
}

/// The same for a page, which is no JSON.
pub(super) const fn page(
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
pub(super) fn with<H, T>(filter: MethodFilter, handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    on(filter, handler)
}
