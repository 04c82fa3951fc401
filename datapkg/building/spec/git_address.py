"""Parse the addresses of git repositories: as the argument of a build, and as `url: git+https://…` of a node."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.format.urls import without_credentials

GIT = "git+"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MAX_ADDRESS = 4_096
_SCP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)")
_REV = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,249}\Z")
_PLAIN = re.compile(r"[!-~]+\Z")


@dataclass(frozen=True)
class Address:
    """A repository to clone, its branch, tag or commit ("" for the default), and the folder in it ("" for all)."""

    remote: str
    rev: str = ""
    folder: str = ""

    @property
    def shown(self) -> str:
        """Return the remote without user-info and query, for messages and the record."""
        if SCHEME.match(self.remote):
            return without_credentials(self.remote)
        return self.remote.partition("@")[2]


def is_address(text: str) -> bool:
    """Return whether this is the URL of a repository and not a local path."""
    return bool(SCHEME.match(text)) or (bool(_SCP.match(text)) and not os.path.lexists(text))


def parse_address(text: str) -> Address:
    """Parse `https://host/repo.git@rev#folder`, `ssh://…` or `git@host:path`; raise `InvalidInput` if malformed."""
    hint = "write it as https://host/repository.git@revision#folder"
    if len(text) > _MAX_ADDRESS or not _PLAIN.match(text):
        raise InvalidInput("this is not an address of a repository: it has spaces, or is too long", hint=hint)
    whole, _, folder = text.partition("#")
    scheme = SCHEME.match(whole)
    start = whole.find("/", scheme.end()) if scheme else whole.index(":")
    at = whole.rfind("@", start) if start >= 0 else -1
    remote, rev = (whole[:at], whole[at + 1 :]) if at >= 0 else (whole, "")
    if at >= 0 and (not _REV.match(rev) or ".." in rev or rev.endswith((".lock", "/", "."))):
        raise InvalidInput(f"{quoted(rev)} is not a branch, tag or commit", hint=hint)
    if scheme:
        _check_remote(remote, scheme[1].lower(), hint)
    _check_folder(folder)
    return Address(remote, rev, folder.strip("/"))


def _check_remote(remote: str, scheme: str, hint: str) -> None:
    try:
        parts = urlsplit(remote)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput(
            "this is not an address of a repository: its host or port cannot be read", hint=hint
        ) from None
    if scheme not in ("https", "ssh") and not (scheme == "http" and _is_loopback(host)):
        what = "plain http, which others may change on the way" if scheme == "http" else f"{quoted(scheme)}"
        raise InvalidInput(f"a repository is fetched by https or ssh, not by {what}", hint=hint)
    # ssh takes a host that begins with a dash for an option, which could run a command.
    if not host or host.startswith("-"):
        raise InvalidInput("this is not an address of a repository: it names no host", hint=hint)
    if parts.query:
        raise InvalidInput("the address of a repository has no query", hint=hint)
    if parts.password is not None or (parts.username is not None and scheme != "ssh"):
        what = "the address of a repository has no password in it"
        raise InvalidInput(what, hint="log in through git's credential helper or ssh")
    if parts.username is not None and parts.username.startswith("-"):
        raise InvalidInput("this is not an address of a repository: its user begins with a dash", hint=hint)


def _check_folder(folder: str) -> None:
    parts = folder.strip("/").split("/")
    if folder and (any(part in ("", ".", "..", ".git") for part in parts) or "\\" in folder):
        raise InvalidInput(
            f"{quoted(folder)} is not a folder of the repository", hint="name it from the repository's root"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_in_repository(url: str) -> bool:
    """Return whether the URL of a source is that of a repository: `git+https://…`, `git+ssh://…`."""
    return url.startswith(GIT)


def repository_of(url: str) -> Address:
    """Return the repository of the URL of a source; raise `InvalidInput` if it is malformed."""
    address = url.removeprefix(GIT)
    if not SCHEME.match(address):
        raise InvalidInput(
            "this is not the address of a repository", hint="write it as git+https://host/repository.git@revision"
        )
    return parse_address(address)
