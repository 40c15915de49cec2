"""A server on the same machine: its Unix socket, and records handed over in memory.

What must stay true: a socket is used only where the one who answers at it is the server that told of it;
memory is sealed before it is handed over, and is the system's again with the last of those that hold it,
however they end.
"""

from __future__ import annotations

import functools
import http.client
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from vermilion.streams import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_RECEIVED_BYTES = 64 << 10


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
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        except BaseException:
            self.sock.close()
            raise

    def exchange(
        self, method: str, path: str, body: Any, headers: dict[str, str], memory: int | None = None
    ) -> Answer:
        """Sends a request, with the descriptor ``memory`` if there is one, and reads its answer."""
        head = _head(method, path, tuple(headers.items()))
        if body is not None or method != "GET":
            head += b"Content-Length: %d\r\n" % (0 if body is None else len(body))
        head += b"\r\n"
        try:
            self._send(head, body, memory)
        except BrokenPipeError:
            pass  # A server that refuses a request need not read all of it, and its answer is here.
        if MEDIA_TYPE in headers.get("Accept", ""):
            return self._stream()
        return self._answer()

    def _send(self, head: bytes, body: Any, memory: int | None) -> None:
        if memory is not None:
            sent = socket.send_fds(self.sock, [head], [memory])
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
        self.sock.close()


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


def in_memory(write: Callable[[Any], None]) -> int:
    """The descriptor of sealed memory that holds what ``write`` puts in a file; whoever gets it closes it.

    Raises:
        OSError: There is not enough memory, or the system has none of this kind.
    """
    import fcntl

    descriptor = os.memfd_create("vermilion", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            write(file)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
