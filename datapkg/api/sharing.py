"""Sharing: who may read a package at its registry."""

from __future__ import annotations

from typing import Any

import msgspec

from datapkg.arrival import allowed_registry
from datapkg.format.names import Ref, check_user
from datapkg.home import Home
from datapkg.remote.client import Client

PUBLIC = "public"


def access(home: Home, ref: Ref, registry: str | None = None) -> dict[str, Any]:
    """Whether the package is public, its owner, and who else may read it."""
    return msgspec.structs.asdict(_client(home, ref, registry).access(ref))


def grant(home: Home, ref: Ref, who: str, confirm: bool = False, registry: str | None = None) -> dict[str, Any]:
    """Lets a user, or `public`, read the package; `confirm` says that showing earlier pushes to all is meant."""
    return msgspec.structs.asdict(_client(home, ref, registry).grant(ref, _who(who), confirm))


def revoke(home: Home, ref: Ref, who: str, registry: str | None = None) -> dict[str, Any]:
    """Takes the right to read from a user, or `public`."""
    return msgspec.structs.asdict(_client(home, ref, registry).revoke(ref, _who(who)))


def _client(home: Home, ref: Ref, registry: str | None) -> Client:
    return home.client(allowed_registry(home, ref, registry))


def _who(who: str) -> str:
    return who if who == PUBLIC else check_user(who)
