"""Sharing: who can read and write a package at its registry."""

from __future__ import annotations

from typing import Any

import msgspec

from datapkg.errors import Forbidden, InvalidInput
from datapkg.format.names import Ref, check_user
from datapkg.home import Home
from datapkg.origins import allowed_registry
from datapkg.remote.client import Client

PUBLIC = "public"


def access(home: Home, ref: Ref, registry: str | None = None) -> dict[str, Any]:
    """Return whether the package is public, its owner, and the users who can read or write it."""
    return msgspec.structs.asdict(_client(home, ref, registry).access(ref))


def grant(
    home: Home, ref: Ref, who: str, confirm: bool = False, registry: str | None = None, *, write: bool = False
) -> dict[str, Any]:
    """Let a user, or `public`, read the package; `confirm` confirms that all earlier pushes become public.

    With `write`, the user can also push, tag and version it; a later call without it does not revoke that.
    """
    if write and who == PUBLIC:
        raise InvalidInput(
            "only users can be allowed to write, not the public", hint=f"datapkg access add {ref} USER --write"
        )
    try:
        return msgspec.structs.asdict(_client(home, ref, registry).grant(ref, _who(who), confirm, write))
    except Forbidden as error:
        if error.detail.get("needs") == "confirm":
            error.explain("", f"datapkg access add {ref.package} {who} --yes (in Python: confirm=True)")
        raise


def revoke(home: Home, ref: Ref, who: str, registry: str | None = None) -> dict[str, Any]:
    """Revoke all access of a user, or of `public`."""
    return msgspec.structs.asdict(_client(home, ref, registry).revoke(ref, _who(who)))


def _client(home: Home, ref: Ref, registry: str | None) -> Client:
    return home.client(allowed_registry(home, ref, registry))


def _who(who: str) -> str:
    return who if who == PUBLIC else check_user(who)
