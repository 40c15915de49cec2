//! How requests reach an object store: by the HTTP client that the other commands use.
//!
//! What must stay true: a key never goes over a connection without encryption unless that was
//! allowed; what failed before it was answered says whether a retry may help.

use std::io::ErrorKind;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use ureq::http::{Method, Request};

use crate::transfer::usual;

/// Makes connections of [`Wire`].
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp);
        let config = usual().map_err(|failure| object_store::Error::Generic {
            store: "S3",
            source: failure.to_string().into(),
        })?;
        Ok(HttpClient::new(Wire {
            agent: config.build().into(),
            allows_http: allowed.as_deref() == Some("true"),
        }))
    }
}

/// Sends requests one at a time, on the thread that waits for them.
#[derive(Debug)]
struct Wire {
    agent: ureq::Agent,
    allows_http: bool,
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.allows_http && request.uri().scheme_str() != Some("https") {
            let message = "the endpoint is not encrypted; AWS_ALLOW_HTTP=true allows that";
            return Err(HttpError::new_boxed(HttpErrorKind::Unknown, message.into()));
        }
        let (head, body) = request.into_parts();
        let bytes = read(body).await?;
        let sent = match head.method {
            Method::GET | Method::HEAD | Method::DELETE => {
                self.agent.run(Request::from_parts(head, ()))
            }
            _ => self.agent.run(Request::from_parts(head, &bytes[..])),
        };
        let (head, mut body) = sent.map_err(failure)?.into_parts();
        let body = body.with_config().limit(u64::MAX).read_to_vec();
        let body = HttpResponseBody::from(body.map_err(failure)?);
        Ok(HttpResponse::from_parts(head, body))
    }
}

async fn read(body: HttpRequestBody) -> Result<Vec<u8>, HttpError> {
    let collected = body.collect().await;
    let collected = collected.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
    Ok(collected.to_bytes().into())
}

fn failure(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
            ErrorKind::TimedOut => HttpErrorKind::Timeout,
            _ => HttpErrorKind::Interrupted,
        },
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
