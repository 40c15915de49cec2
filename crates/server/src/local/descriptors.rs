//! Descriptors that come through a Unix socket, and the sealed memory behind them: the one file of the
//! server that may lift `unsafe_code`.
//!
//! What must stay true: memory is mapped only once its seals say that nobody can change, shorten or
//! empty it any more, and it is no larger than a body may be; a connection holds one descriptor at
//! most; descriptors of requests that do not ask for them are closed with the connection.
#![cfg_attr(
    target_os = "linux",
    expect(
        unsafe_code,
        reason = "a mapping is unsafe because another process could change the memory"
    )
)]

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use vermilion_protocol::ApiError;

/// Whether memory can be handed over on this system.
pub(crate) const TAKES_MEMORY: bool = cfg!(target_os = "linux");

/// Bytes that are read at once: the room for them is zeroed first.
const READ_BYTES_MAX: usize = 64 << 10;

/// What a client handed over on its connection and no request has taken yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed(Arc<Mutex<Option<OwnedFd>>>);

impl Passed {
    /// The memory that came with a request, mapped: of `bytes_max` bytes at most.
    pub(crate) fn take(&self, bytes_max: usize) -> Result<Bytes, ApiError> {
        let descriptor = self.0.lock().take();
        let descriptor =
            descriptor.ok_or_else(|| refused("no descriptor came with the request"))?;
        map(descriptor, bytes_max)
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::invalid(format!("The memory of this request cannot be read: {why}"))
}

/// Maps the sealed memory behind `descriptor`.
#[cfg(target_os = "linux")]
fn map(descriptor: OwnedFd, bytes_max: usize) -> Result<Bytes, ApiError> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{SealFlags, fcntl_get_seals};

    /// Bytes of a block as the system counts them.
    const BLOCK_BYTES: u64 = 512;

    let failed = |error: io::Error| refused(&error.to_string());
    // Only memory has seals: of files, pipes and sockets this fails.
    let seals = fcntl_get_seals(&descriptor)
        .map_err(|_| refused("the descriptor is not of memory with seals (memfd_create)"))?;
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW) {
        let needed = "it must be sealed with F_SEAL_WRITE, F_SEAL_SHRINK and F_SEAL_GROW";
        return Err(refused(needed));
    }
    let file = std::fs::File::from(descriptor);
    let metadata = file.metadata().map_err(failed)?;
    let bytes = metadata.len();
    if bytes > bytes_max as u64 {
        let told = format!("Its {bytes} bytes are more than the {bytes_max} that a body may have");
        return Err(ApiError::new(413, told));
    }
    if bytes == 0 {
        return Ok(Bytes::new());
    }
    // Reading a hole would ask the system for memory, and end this process where there is none.
    if metadata.blocks() * BLOCK_BYTES < bytes {
        return Err(refused("parts of it were never written"));
    }
    // SAFETY: the seals last as long as the memory. They were set, so nobody can write to it, and it
    // has no writable mappings; it can neither be cut, which would take pages from this mapping, nor
    // emptied in its middle.
    let map = unsafe { memmap2::MmapOptions::new().populate().map(&file) }.map_err(failed)?;
    // A slice of it is what it was when it was measured: it cannot have grown or shrunk since.
    Ok(Bytes::from_owner(map))
}

/// Where memory has no seals it is not taken.
#[cfg(not(target_os = "linux"))]
fn map(descriptor: OwnedFd, _bytes_max: usize) -> Result<Bytes, ApiError> {
    drop(descriptor);
    Err(refused("this system has no sealed memory"))
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
        if let Some(descriptor) = first {
            let before = self.passed.0.lock().replace(descriptor);
            if more || before.is_some() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "more than one descriptor came with a request",
                ));
            }
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
