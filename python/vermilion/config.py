"""Settings, in the words that programs written for chromadb use."""

from __future__ import annotations

import enum
import os
from typing import Any

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"

_KNOWN: dict[str, Any] = {
    "is_persistent": False,
    "persist_directory": "./chroma",
    "allow_reset": False,
    "chroma_server_host": None,
    "chroma_server_http_port": None,
    "chroma_server_headers": None,
    "chroma_server_ssl_enabled": False,
    "chroma_server_ssl_verify": None,
    "record_form": None,
    "server_transport": None,
    "chroma_client_auth_provider": None,
    "chroma_client_auth_credentials": None,
    "chroma_auth_token_transport_header": None,
}

_PLACE = ("is_persistent", "persist_directory")
_TRUE = frozenset({"1", "true", "yes", "on"})


_configured: dict[str, Any] = {}


def configure(**settings: Any) -> None:
    """Says what :func:`get_settings` answers; as with chromadb, clients do not read it."""
    _configured.clear()
    _configured.update(settings)


def get_settings() -> Settings:
    """The settings that :func:`configure` was told, and the default ones beside them."""
    return Settings(**_configured)


class TokenTransportHeader(str, enum.Enum):
    """The header that a key goes in."""

    AUTHORIZATION = "Authorization"
    X_CHROMA_TOKEN = "X-Chroma-Token"


class Settings:
    """What a client is to do. Settings that have no meaning here are kept and passed over.

    A setting that is not given is read from the environment, under its name in capitals.
    """

    #: Whether the database is in the folder ``persist_directory``.
    is_persistent: bool
    persist_directory: str
    #: Whether ``reset`` may delete everything.
    allow_reset: bool
    #: The server: its host or whole address, its port, headers for each request, TLS.
    chroma_server_host: str | None
    chroma_server_http_port: int | None
    chroma_server_headers: dict[str, str] | None
    chroma_server_ssl_enabled: bool
    #: False trusts every certificate; a path names those that are trusted.
    chroma_server_ssl_verify: bool | str | None
    #: How many records at once go over HTTP: ``arrow``, ``json``, or None for the faster of those that
    #: both sides know.
    record_form: str | None
    #: The way to a server: ``memory`` (its Unix socket, many records in shared memory), ``socket``, ``http``,
    #: ``json`` (``http``, and all records as JSON), or None for the fastest that there is.
    server_transport: str | None
    #: Who asks: a provider with ``Basic`` or ``Token`` in its name, and ``user:password`` or a key.
    chroma_client_auth_provider: str | None
    chroma_client_auth_credentials: str | None
    #: ``Authorization``, or ``X-Chroma-Token``.
    chroma_auth_token_transport_header: Any

    def __init__(self, **settings: Any) -> None:
        for name, default in _KNOWN.items():
            told = os.environ.get(name.upper())
            if told is None:
                setattr(self, name, default)
            elif isinstance(default, bool):
                setattr(self, name, told.strip().lower() in _TRUE)
            else:
                setattr(self, name, told)
        for name, value in settings.items():
            setattr(self, name, value)

    def changed(self, **settings: Any) -> Settings:
        """The same settings but for these."""
        return Settings(**{**vars(self), **settings})

    def of_database(self) -> dict[str, Any]:
        """What clients that share a database in this process have the same: what has a meaning here, but for
        the place of the database."""
        return {name: getattr(self, name) for name in _KNOWN if name not in _PLACE}

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"Settings({told})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]
