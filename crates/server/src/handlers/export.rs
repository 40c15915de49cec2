//! The route that exports what curation found, piece by piece.
//!
//! What must stay true: what is refused is refused with its status, since nothing is answered before the
//! first piece is there; pieces wait for the client, who is left after a while without taking any; an export that
//! fails later breaks the connection off, so that nobody takes a part for the whole.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, channel};
use vermilion_curation::fields::Context;
use vermilion_curation::{AskedExport, Exported, Format, Refusal};

use super::curation::{Asked, At, Refused};
use super::findings::filter_of;
use crate::app::App;

/// Pieces that wait for the client.
const PIECES: usize = 2;
/// How long a piece waits.
const PATIENCE: Duration = Duration::from_mins(1);

/// A piece, or why there is none.
type Piece = Result<Bytes, Refusal>;

/// What the query string of an export says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfAnExport {
    what: Option<String>,
    format: Option<String>,
    context: Option<String>,
    dataset: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
}

impl OfAnExport {
    fn understood(self) -> Result<AskedExport, Refusal> {
        Ok(AskedExport {
            what: Exported::named(self.what.as_deref())?,
            format: Format::named(self.format.as_deref())?,
            context: self.context.as_deref().map(Context::told).transpose()?,
            dataset: self.dataset,
            filter: self.filter.as_deref().map(filter_of).transpose()?,
        })
    }
}

/// A body whose pieces come through a channel.
struct Pieces {
    first: Option<Bytes>,
    rest: Receiver<Piece>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let told = |piece: Piece| {
            let piece = piece.map_err(|refusal| io::Error::other(refusal.message));
            piece.map(Frame::data)
        };
        self.rest.poll_recv(context).map(|piece| piece.map(told))
    }
}

pub(crate) async fn export(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<OfAnExport>,
) -> Result<Response, Refused> {
    let asked = asked.understood()?;
    let kind = asked.format.media_type();
    let (pieces, mut rest) = channel::<Piece>(PIECES);
    let (curation, handle, own) = (app.curation.clone(), Handle::current(), app.clone());
    let work = async move {
        let export = move |_: &vermilion_engine::Database| {
            let send = |piece: Piece| {
                let sent = handle.block_on(tokio::time::timeout(PATIENCE, pieces.send(piece)));
                matches!(sent, Ok(Ok(())))
            };
            let mut left = false;
            let mut take = |piece: Vec<u8>| {
                left = left || !send(Ok(piece.into()));
                !left
            };
            let name = &at.names.collection;
            let done = curation.export(&at.place, name, &asked, &mut take);
            if let Err(refusal) = done {
                send(Err(refusal));
            } else if left {
                // Nobody takes a part for the whole.
                send(Err(Refusal::new(
                    408,
                    "timeout",
                    "The client took no piece for too long.",
                )));
            }
            Ok(())
        };
        if let Err(error) = own.read(export).await {
            tracing::warn!(error = error.message, "an export could not run");
        }
    };
    tokio::spawn(work);
    let first = rest.recv().await.unwrap_or_else(|| {
        Err(Refusal::new(503, "busy", "The server could not begin the export.").hint("retry"))
    })?;
    let body = Pieces {
        first: Some(first),
        rest,
    };
    Ok(([(CONTENT_TYPE, kind)], Body::new(body)).into_response())
}
