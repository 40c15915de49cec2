"""A server on the same machine: its Unix socket, and records handed over in memory.

What must stay true: a socket is used only where the one who answers at it is the server that told of it;
memory goes with one connection, is written only while no request of that is under way, and is the system's again
with the last of those that hold it, however they end.
"""

from __future__ import annotations

import functools
import http.client
import mmap
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from vermilion.streams import MEDIA_TYPE

if TYPE_CHECKING:
    from vermilion.streams import Stream

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_RECEIVED_BYTES = 64 << 10
#: What keeps others from writing to memory, and anybody from taking pages out of it; new with Linux 5.1.
_F_SEAL_FUTURE_WRITE = 0x10
#: How many times what a stream needs memory may be before it is given up for less, but where it is little.
_ROOM_MAX = 8
_ROOM_LITTLE = 512 << 10


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    #: The type of the body, in small letters, without what follows a semicolon.
    kind: str
    body: Any
    #: Whether the connection ends with it.
    closes: bool


class LocalConnection:
    """HTTP through a Unix socket, one request at a time; the server is of this project.

    Raises:
        OSError: There is nobody at ``path``, or it may not be opened.
    """

    is_local = True

    def __init__(self, path: str, timeout: float) -> None:
        self._segment: Segment | None = None
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        except BaseException:
            self.sock.close()
            raise

    @property
    def held(self) -> int:
        """Bytes of memory that this connection holds for the next stream."""
        return 0 if self._segment is None else self._segment.room

    def put(self, stream: Stream) -> None:
        """Writes ``stream`` to memory that the next request hands over: that of the last one, where it has room.

        Raises:
            OSError: There is not enough memory, or the system has none of this kind.
        """
        if not stream.length <= self.held <= max(_ROOM_MAX * stream.length, _ROOM_LITTLE):
            self._segment = None
            self._segment = Segment(stream.length)
        stream.write_to(self._segment.map)

    def exchange(
        self, method: str, path: str, body: Any, headers: dict[str, str], handed: int | None = None
    ) -> Answer:
        """Sends a request and reads its answer; ``handed`` is how many bytes in memory are its body."""
        head = _head(method, path, tuple(headers.items()))
        if handed is not None:
            head += b"X-Vermilion-Memory: %d\r\n" % handed
        if body is not None or method != "GET":
            head += b"Content-Length: %d\r\n" % (0 if body is None else len(body))
        head += b"\r\n"
        try:
            self._send(head, body, None if handed is None else self._segment)
        except BrokenPipeError:
            pass  # A server that refuses a request need not read all of it, and its answer is here.
        if MEDIA_TYPE in headers.get("Accept", ""):
            return self._stream()
        return self._answer()

    def _send(self, head: bytes, body: Any, segment: Segment | None) -> None:
        if segment is not None and segment.descriptor is not None:
            sent = socket.send_fds(self.sock, [head], [segment.descriptor])
            segment.forget()
            if sent < len(head):
                self.sock.sendall(head[sent:])
        elif body is None or len(body) <= _RECEIVED_BYTES:
            self.sock.sendall(head + bytes(body or b""))
        else:
            self.sock.sendall(head)
            self.sock.sendall(body)

    def _answer(self) -> Answer:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            part = self.sock.recv(_RECEIVED_BYTES)
            if not part:
                raise http.client.RemoteDisconnected("the server closed the connection")
            received += part
        status, kind, length, closes = _told(received[:end])
        body: Any = received[end + 4 :]
        if len(body) < length:
            body = self._rest(body, length)
        return Answer(status, kind, body, closes)

    def _stream(self) -> Answer:
        """The same of an answer whose body may be long: it is read into the bytes that it stays in."""
        # Nothing is read ahead that is not of this answer: the next one was not asked for yet.
        with self.sock.makefile("rb") as file:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = file.readline()
                if not line:
                    raise http.client.RemoteDisconnected("the server closed the connection")
                head += line
            status, kind, length, closes = _told(head[:-4])
            body = file.read(length)
        if len(body) < length:
            raise http.client.IncompleteRead(body, length - len(body))
        return Answer(status, kind, body, closes)

    def _rest(self, begun: bytes, length: int) -> bytearray:
        body = bytearray(length)
        body[: len(begun)] = begun
        room, filled = memoryview(body), len(begun)
        while filled < length:
            count = self.sock.recv_into(room[filled:])
            if not count:
                raise http.client.IncompleteRead(bytes(body[:filled]), length - filled)
            filled += count
        return body

    def close(self) -> None:
        self._segment = None
        self.sock.close()


class Segment:
    """Memory with room for a stream of ``length`` bytes, which a server can map.

    Making it takes longer than sending the stream would, so one serves many streams.

    Raises:
        OSError: There is not enough memory, or the system has none of this kind.
    """

    #: What the server is given; None once it has that.
    descriptor: int | None = None

    def __init__(self, length: int) -> None:
        import fcntl

        # A little more: the next stream may be a little longer.
        self.room = -(-(length + length // 8) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.descriptor = os.memfd_create("vermilion", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            # All of it is there from now on: a server takes no memory that has holes.
            os.posix_fallocate(self.descriptor, 0, self.room)
            self.map = mmap.mmap(self.descriptor, self.room)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Closes the descriptor; the memory stays for as long as it is mapped here or there."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __del__(self) -> None:
        self.forget()


def _told(head: bytes) -> tuple[int, str, int, bool]:
    """What the lines of an answer before its body say: the status, the type and the length of the body, and
    whether the connection ends with it."""
    lines = head.decode("latin-1").split("\r\n")
    told = dict(line.lower().split(": ", 1) for line in lines[1:])
    if "content-length" not in told:
        raise http.client.UnknownProtocol("an answer without its length")
    kind = told.get("content-type", "").split(";")[0].strip()
    return int(lines[0].split(" ")[1]), kind, int(told["content-length"]), told.get("connection") == "close"


@functools.lru_cache(maxsize=256)
def _head(method: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The lines of a request up to its length, which is another one each time."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("A header or a path has a line break in it")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


class Socket(NamedTuple):
    """The Unix socket that a server told of."""

    path: str
    #: What the server is called that listens there.
    nonce: str
    #: Whether it takes records in memory.
    memory: bool


def found(told: dict[str, Any]) -> Socket | str:
    """The socket that a server ``told`` of, or why there is none for this process."""
    if not hasattr(socket, "AF_UNIX"):
        return "this system has no Unix sockets"
    path, nonce = told.get("path"), told.get("nonce")
    if not (isinstance(path, str) and isinstance(nonce, str)):
        return "the server has no socket for this client"
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot_id = file.read().strip()
    except OSError:
        return "this system does not tell its boot id"
    if told.get("boot_id") != boot_id:
        return "the server is on another machine"
    takes = told.get("memory") is True and hasattr(os, "memfd_create") and hasattr(socket, "send_fds")
    return Socket(path, nonce, takes)
