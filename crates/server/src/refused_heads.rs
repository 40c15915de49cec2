//! Requests whose head cannot be read. hyper answers these by itself, without a body; here they get the JSON that
//! every error has, and a client that does not finish a head in time is told so. A head that hyper reads although
//! it is too large is refused here as well.
//!
//! What must stay true: nothing but hyper's own answers is changed. What may be one is held back until hyper reads
//! on, which it never does behind one, or until its connection has ended and says why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use vermilion_protocol::ApiError;

use crate::answer::Failure;

/// How long a refused client may take to read why, and to end what it still sends: closed before that, a
/// connection would be reset, and the answer with it.
const FAREWELL: Duration = Duration::from_secs(1);
/// What hyper says of the body of its own answers.
const NO_BODY: &str = "content-length: 0\r\n";
/// What says that no further request is read.
const CLOSE: &str = "connection: close\r\n";
/// The head of an answer that hyper leaves out.
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";

/// Bytes of a head at most.
pub(crate) const HEAD_BYTES_MAX: usize = 512 << 10;

/// The answer to a request whose head is too large: hyper looks at that between two reads, so that it takes one
/// that comes at once.
pub(crate) fn refuse_large<B>(request: &Request<B>) -> Option<Response> {
    let target = request.uri().path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    // A colon, a space and the end of the line.
    let headers = request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    (target + headers > HEAD_BYTES_MAX)
        .then(|| ([(header::CONNECTION, "close")], Failure(too_large())).into_response())
}

fn too_large() -> ApiError {
    ApiError::new(
        431,
        "The head of a request may have 100 headers and 512 KiB.",
    )
}

/// A connection that hyper serves.
#[derive(Debug)]
pub(crate) struct RefusedHeads<S> {
    stream: S,
    /// What was written last, where it may be an answer of hyper's own.
    held: Vec<u8>,
    /// Whether something was read since something was written: a part of a request that has no answer.
    is_asked: bool,
    /// Whether a part of an answer is not written.
    is_stalled: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RefusedHeads<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            held: Vec::new(),
            is_asked: false,
            is_stalled: false,
        }
    }

    /// Says farewell once hyper has ended with `ended`.
    pub(crate) async fn end(self, ended: &hyper::Result<()>) {
        // A client that has gone away is told nothing.
        let _ = timeout(FAREWELL, self.take_leave(ended)).await;
    }

    async fn take_leave(mut self, ended: &hyper::Result<()>) -> io::Result<()> {
        let head = std::mem::take(&mut self.held);
        let answer = match ended {
            Err(error) if error.is_parse() && !head.is_empty() => {
                let head = String::from_utf8_lossy(&head);
                with_body(&head, &refusal(&head, error))
            }
            Err(error) if error.is_timeout() && self.is_asked && !self.is_stalled => {
                let message = "The head of the request did not arrive in time (header_timeout).";
                with_body(TOO_SLOW, &ApiError::new(408, message))
            }
            // hyper has closed it.
            _ if head.is_empty() => return Ok(()),
            _ => head,
        };
        self.stream.write_all(&answer).await?;
        self.stream.shutdown().await?;
        let mut rest = [0; 4096];
        while self.stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    /// Writes what was held back: it is no answer of hyper's own.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.held.drain(..written)),
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

/// Whether `written` has the form of an answer of hyper's own: an error that says nothing more.
fn may_be_own(written: &[u8]) -> bool {
    // Most answers are told apart by their status.
    if written.get(8..10) != Some(b" 4") || !written.ends_with(b"\r\n\r\n") {
        return false;
    }
    let Ok(head) = std::str::from_utf8(written) else {
        return false;
    };
    let mut headers = head.trim_end().split("\r\n").skip(1);
    let own = ["connection: ", "content-length: 0", "date: "];
    head.contains(NO_BODY) && headers.all(|line| own.iter().any(|one| line.starts_with(one)))
}

/// Why hyper has refused a request by an answer with this `head`.
fn refusal(head: &str, error: &hyper::Error) -> ApiError {
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    match status {
        Some(414) => ApiError::new(
            414,
            "The path and query of a request may have 65,534 bytes.",
        ),
        Some(431) => too_large(),
        other => {
            let message = format!("The head of the request is not HTTP/1.1: {error}.");
            ApiError::new(other.unwrap_or(400), message)
        }
    }
}

/// The answer with `head`, which has no body, and `error` for one.
fn with_body(head: &str, error: &ApiError) -> Vec<u8> {
    let body = error.to_json();
    let headers = format!(
        "{CLOSE}content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    // hyper closes the connection, and does not always say so.
    let head = head.replacen(CLOSE, "", 1).replacen(NO_BODY, &headers, 1);
    [head.as_bytes(), &body].concat()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for RefusedHeads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.is_asked |= buffer.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for RefusedHeads<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_release(context))?;
        self.is_asked = false;
        if let [only] = slices
            && !self.is_stalled
            && may_be_own(only)
        {
            self.held.extend_from_slice(only);
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.is_stalled = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_shutdown(context);
        }
        // `end` does so behind what is held.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn what_only_looks_like_an_answer_of_hypers_own_is_passed_on() {
        let alike = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        let (mut client, server) = duplex(1 << 10);
        let mut stream = RefusedHeads::new(server);
        stream.write_all(b"before").await.unwrap();
        for _ in 0..2 {
            stream.write_all(alike).await.unwrap();
        }
        client.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        let mut passed = vec![0; 6 + 2 * alike.len()];
        client.read_exact(&mut passed).await.unwrap();
        assert_eq!(passed, [b"before".as_slice(), alike, alike].concat());
        stream.write_all(alike).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.end(&Ok(())).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, alike);
    }

    #[test]
    fn answers_of_routes_are_never_held_back() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                   content-length: 0\r\ndate: Sun, 22 Nov 2026 20:00:00 GMT\r\n\r\n";
        assert!(may_be_own(own.as_bytes()));
        for other in [
            own.replace(" 431", " 200"),
            own.replace("date: ", "x-request-id: 1\r\ndate: "),
            own.replace("length: 0", "length: 10"),
            own.replace("date: ", "content-type: application/json\r\ndate: "),
            format!("{own}{{}}"),
            own[1..].to_owned(),
        ] {
            assert!(!may_be_own(other.as_bytes()), "{other}");
        }
    }
}
