//! Around each route: who asks, whether they may, how often, and the line of the audit log.
//!
//! What must stay true: nothing of a body is read before the request is allowed; a refusal tells
//! nothing of what is there.

use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vermilion_protocol::ApiError;

use super::{Identity, Need, Role, Scope};
use crate::answer::Failure;
use crate::app::App;
use crate::handlers::curation::{Refused, place_of};
use crate::listen::Peer;
use crate::observe::RequestId;
use crate::routes::{CURATION, Route};

/// A route and what it shares with the others.
#[derive(Clone)]
pub(crate) struct Guarded {
    /// What all requests share.
    pub(crate) app: App,
    /// The route.
    pub(crate) route: &'static Route,
}

/// The names of a path that access depends on; empty where there is none.
#[derive(Debug, Default)]
struct Place {
    tenant: String,
    database: String,
    collection: String,
}

impl Place {
    fn of(params: &RawPathParams) -> Self {
        let mut place = Self::default();
        for (name, value) in params {
            match name {
                "tenant" => value.clone_into(&mut place.tenant),
                "database" => value.clone_into(&mut place.database),
                "collection_id" | "space" => value.clone_into(&mut place.collection),
                _ => {}
            }
        }
        place
    }

    /// The same for a route of curation, whose tenant and database headers may name.
    fn or_named_by(mut self, headers: &HeaderMap) -> Self {
        (self.tenant, self.database) = place_of(&self.tenant, &self.database, headers);
        self
    }
}

/// Lets a request through to its handler, or answers in its stead.
pub(crate) async fn guard(
    State(guarded): State<Guarded>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let Guarded { app, route } = guarded;
    let mut place = Place::of(&params);
    let of_curation = route.path.starts_with(CURATION);
    if of_curation {
        place = place.or_named_by(request.headers());
    }
    let identity = app.identify(request.headers());
    let id = request.extensions().get::<RequestId>().cloned();
    let peer = request.extensions().get::<Peer>().copied();
    let name = identity.as_ref().map(|identity| identity.name.clone());
    let answer = move |error| answer(error, of_curation);
    let refused = refuse(&app, route.needs, identity.as_ref(), &place, answer);
    let response = if let Some(refusal) = refused {
        refusal
    } else {
        if let Some(identity) = identity {
            request.extensions_mut().insert(identity);
        }
        next.run(request).await
    };
    let status = response.status().as_u16();
    let changes = route.needs.role().is_some_and(|role| role > Role::Read);
    if let Some(audit) = &app.audit
        && (changes || matches!(status, 401 | 403 | 429))
    {
        let line = json!({
            "time": time(&app),
            "request": id.as_ref().map(RequestId::as_str),
            "from": peer.map(|peer| peer.to_string()),
            "key": name,
            "action": route.operation,
            "tenant": place.tenant,
            "database": place.database,
            "collection": place.collection,
            "status": status,
        });
        audit.note(&line).await;
    }
    response
}

/// An error in the form that its routes have.
fn answer(error: ApiError, of_curation: bool) -> Response {
    if of_curation {
        return Refused::from(error).into_response();
    }
    Failure(error).into_response()
}

/// The answer to a request that may not go on.
fn refuse(
    app: &App,
    need: Need,
    identity: Option<&Identity>,
    place: &Place,
    answer: impl Fn(ApiError) -> Response,
) -> Option<Response> {
    if need == Need::Nothing {
        return None;
    }
    let Some(identity) = identity else {
        let error = ApiError::new(
            401,
            "This server asks for an API key; send it as `Authorization: Bearer KEY`, as \
             `X-Chroma-Token: KEY`, or as the password of basic authentication",
        );
        let mut response = answer(error);
        let ways = HeaderValue::from_static("Bearer, Basic realm=\"vermilion\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, ways);
        return Some(response);
    };
    if !need.is_met_by(identity, &place.tenant, &place.database) {
        return Some(answer(ApiError::new(403, forbidden(need, identity))));
    }
    let error = within_rate(app, &place.tenant).err()?;
    let mut response = answer(error);
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, second);
    Some(response)
}

/// Counts a request of a tenant, and fails where that is one too many; none is counted without a tenant.
pub(crate) fn within_rate(app: &App, tenant: &str) -> Result<(), ApiError> {
    let over = app
        .rates
        .as_ref()
        .is_some_and(|rates| !tenant.is_empty() && !rates.admit(tenant));
    if over {
        let message =
            "This tenant has sent as many requests as it may send in a second; retry later";
        return Err(ApiError::new(429, message));
    }
    Ok(())
}

fn forbidden(need: Need, identity: &Identity) -> String {
    let role = need.role().unwrap_or(Role::Read).name();
    let place = match need {
        Need::Nothing | Need::AnyKey | Need::Server(_) => "the whole server",
        Need::Tenant(_) => "the whole tenant",
        Need::PartOfTenant(_) => "the tenant",
        Need::Database(_) => "the database",
    };
    format!(
        "The key `{}` may not do this: it takes the role `{role}` on {place}",
        identity.name
    )
}

fn time(app: &App) -> String {
    let now = i128::from(app.database.now_nanoseconds());
    jiff::Timestamp::from_nanosecond(now).map_or_else(|_| now.to_string(), |now| now.to_string())
}

impl App {
    /// Whoever sends `headers`: without keys anybody is an administrator.
    fn identify(&self, headers: &HeaderMap) -> Option<Identity> {
        match &self.keyring {
            Some(ring) => ring.identify(headers),
            None => Some(Identity {
                name: String::new(),
                role: Role::Admin,
                scope: Scope::default(),
            }),
        }
    }
}
