//! Connections whose client has closed its own side behind a whole request: it sends nothing more, and still
//! reads the answer.
//!
//! What must stay true: such a client is answered as any other. The network shows the same of a client that has
//! gone away, so after a while it counts as gone, and what runs for it is left. Where a part of a request is
//! missing that is soon, and where there is none at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client that may have gone away is answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long the rest of a request, which has come, may take to be read.
const READING_MAX: Duration = Duration::from_millis(200);

/// What a connection knows of the request that it answers. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// Who waits to be told that this has changed.
    waiting: Option<Waker>,
}

/// Where the exchange is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No request has come.
    #[default]
    Idle,
    /// A part of one has been read.
    Asking,
    /// All of one has been read, and its answer is not at its end.
    Answering,
}

impl Exchange {
    /// Begins with the request whose body is `body`.
    pub(crate) fn begin<B: Body>(&self, body: B) -> (Asked<B>, Answering) {
        self.enter(if body.is_end_stream() {
            Stage::Answering
        } else {
            Stage::Asking
        });
        let exchange = self.clone();
        (Asked { body, exchange }, Answering(self.clone()))
    }

    /// Whether a part of the request has not been read.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.lock().stage == Stage::Asking
    }

    fn enter(&self, stage: Stage) {
        self.0.lock().stage = stage;
        self.wake();
    }

    fn wake(&self) {
        let waiting = self.0.lock().waiting.take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// The body of a request, which notes when all of it has come.
#[derive(Debug)]
pub(crate) struct Asked<B> {
    body: B,
    exchange: Exchange,
}

/// Ends the exchange when it is dropped.
#[derive(Debug)]
pub(crate) struct Answering(Exchange);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Stage::Idle);
    }
}

/// The body of an answer, with which the exchange ends.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    body: B,
    _answering: Answering,
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, answering: Answering) -> Self {
        Self {
            body,
            _answering: answering,
        }
    }
}

impl<B: Body + Unpin> Body for Asked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.exchange.enter(Stage::Answering);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection, the end of which is told when nothing is answered any more, or the patience is at its end.
#[derive(Debug)]
pub(crate) struct HalfClosed<S> {
    stream: S,
    exchange: Exchange,
    patience: Duration,
    /// When the client closed its side, and what wakes whoever waits for the end.
    ended: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Whether the client was slow to take what was last written.
    is_stalled: bool,
}

impl<S> HalfClosed<S> {
    /// Looks after `stream`, whose requests and answers `exchange` sees.
    pub(crate) fn new(stream: S, exchange: Exchange, patience: Duration) -> Self {
        Self {
            stream,
            exchange,
            patience,
            ended: None,
            is_stalled: false,
        }
    }

    /// Whether the end may be told.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let (since, timer) = self
            .ended
            .get_or_insert_with(|| (now, Box::pin(sleep_until(now))));
        let mut state = self.exchange.0.lock();
        state.waiting = Some(context.waker().clone());
        let patience = match state.stage {
            Stage::Idle if !self.is_stalled => return Poll::Ready(Ok(())),
            Stage::Asking => READING_MAX.min(self.patience),
            Stage::Idle | Stage::Answering => self.patience,
        };
        let until = *since + patience;
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(context).map(Ok)
    }

    /// Notes what became of writing.
    fn wrote<T>(&mut self, written: Poll<T>) -> Poll<T> {
        let was_stalled = std::mem::replace(&mut self.is_stalled, written.is_pending());
        if was_stalled && !self.is_stalled && self.ended.is_some() {
            self.exchange.wake();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfClosed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_end(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HalfClosed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty, Full};
    use hyper::body::Bytes;
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn the_end_is_told_once_the_answer_is_at_its_end() {
        let exchange = Exchange::default();
        let (client, server) = duplex(64);
        let mut server = HalfClosed::new(server, exchange.clone(), LONG);
        let (_, answering) = exchange.begin(Empty::<Bytes>::new());
        drop(client);
        assert!(timeout(SOON, server.read_u8()).await.is_err());
        let answer = Answer::new(Full::new(Bytes::from_static(b"answer")), answering);
        let (told, ended) = tokio::join!(answer.collect(), server.read_u8());
        assert_eq!(told.unwrap().to_bytes(), "answer");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn who_says_nothing_for_long_has_gone() {
        let exchange = Exchange::default();
        let (client, server) = duplex(64);
        let mut server = HalfClosed::new(server, exchange.clone(), SOON);
        let _answering = exchange.begin(Empty::<Bytes>::new());
        drop(client);
        assert!(timeout(LONG, server.read_u8()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn the_end_within_a_request_is_told_soon_and_without_one_at_once() {
        let exchange = Exchange::default();
        let (client, server) = duplex(64);
        let mut server = HalfClosed::new(server, exchange.clone(), LONG);
        drop(client);
        assert!(server.read_u8().await.is_err());
        let (asked, _answering) = exchange.begin(Full::new(Bytes::from_static(b"half")));
        assert!(timeout(LONG, server.read_u8()).await.unwrap().is_err());
        asked.collect().await.unwrap();
        assert!(timeout(SOON, server.read_u8()).await.is_err());
    }
}
