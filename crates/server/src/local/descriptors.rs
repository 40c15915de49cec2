//! Descriptors that come through a Unix socket.
//!
//! What must stay true: a connection holds one descriptor at most that no request has taken; descriptors of
//! requests that do not ask for them are closed with the connection.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use vermilion_protocol::ApiError;

use super::segment::{Handed, Segment, refused};

/// Bytes that are read at once: the room for them is zeroed first.
const READ_BYTES_MAX: usize = 64 << 10;

/// What a client handed over on its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// What no request has taken yet.
    descriptor: Option<OwnedFd>,
    /// The memory of the last request that had some, for those after it.
    segment: Option<Arc<Segment>>,
}

impl Passed {
    /// The body of a request: the first `bytes` of the memory that came with it, or else of that
    /// which came before on its connection. A body has `bytes_max` bytes at most.
    pub(crate) fn take(&self, bytes: usize, bytes_max: usize) -> Result<Handed, ApiError> {
        if bytes > bytes_max {
            let told =
                format!("Its {bytes} bytes are more than the {bytes_max} that a body may have");
            return Err(ApiError::new(413, told));
        }
        let mut kept = self.0.lock();
        if let Some(descriptor) = kept.descriptor.take() {
            // What was there before is of no more use, also where this cannot be read.
            kept.segment = None;
            kept.segment = Some(Arc::new(Segment::map(descriptor, bytes_max)?));
        }
        let segment = kept.segment.clone().ok_or_else(|| {
            refused("no descriptor came with the request, or before it on its connection")
        })?;
        Handed::new(segment, bytes)
    }
}

/// A connection of the Unix socket.
#[derive(Debug)]
pub(crate) struct LocalStream {
    stream: UnixStream,
    passed: Passed,
}

impl LocalStream {
    /// Reads from `stream`, and puts the descriptors that come with bytes in `passed`.
    pub(crate) fn new(stream: UnixStream, passed: Passed) -> Self {
        Self { stream, passed }
    }

    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        #[cfg(target_os = "linux")]
        let flags = RecvFlags::CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = RecvFlags::empty();
        let room = &mut [IoSliceMut::new(room)];
        let received = recvmsg(&self.stream, room, &mut control, flags)?;
        let mut descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        let first = descriptors.next();
        let more = descriptors.next().is_some() || received.flags.contains(ReturnFlags::CTRUNC);
        if more {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more than one descriptor came with a request",
            ));
        }
        if let Some(descriptor) = first {
            // A request that was refused early has not taken the one before.
            self.passed.0.lock().descriptor = Some(descriptor);
        }
        Ok(received.bytes)
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.stream.poll_read_ready(context))?;
            let bytes = buffer.remaining().min(READ_BYTES_MAX);
            let room = buffer.initialize_unfilled_to(bytes);
            match this
                .stream
                .try_io(Interest::READABLE, || this.receive(room))
            {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => {
                    buffer.advance(received?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
