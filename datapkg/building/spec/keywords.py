"""The keywords of a build file: which name a source, which belong to which source, and hints for unknown ones."""

from __future__ import annotations

from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

TOP = ("contents", "meta", "checks", "stages")
SOURCES = ("file", "url", "package", "sql", "python", "stage", "results_of")
# Set on a group, these apply to everything below it.
SETTINGS = ("transform", "kwargs", "checks", "meta")
UNSUPPORTED = ("environments",)
# Sums that a publisher states, with how many hex digits they have.
CLAIMS = {"md5": 32, "sha1": 40}
OF_ALL = ("checks", "meta", "columns")
_READ_AS = ("transform", "kwargs", "sheet", "table")
OF_GLOB = ("concat", *_READ_AS, *OF_ALL)
OF_SOURCE: dict[str, tuple[str, ...]] = {
    "file": ("extract", "concat", *_READ_AS, *OF_ALL),
    "url": ("sha256", *CLAIMS, "extract", *_READ_AS, *OF_ALL),
    "package": OF_ALL,
    "sql": ("connection", *OF_ALL),
    "python": ("file", "files", "kwargs", "transform", *OF_ALL),
    "stage": ("output", *_READ_AS, *OF_ALL),
    "results_of": ("steps", *OF_ALL),
}
OF_STAGE = (
    *("run", "python", "shell", "inputs", "as", "params", "outputs", "env", "code", "timeout", "retries"),
    *("isolated", "foreach", "matrix", "search", "concurrency", "resources", "image", "network", "early_stopping"),
)
# For nodes only. Below a group, a mapping at one of these names (except `columns`) is a group of that name.
OF_NODES = (
    "columns",
    "concat",
    "connection",
    "extract",
    "files",
    "output",
    "sha256",
    *CLAIMS,
    "sheet",
    "steps",
    "table",
)
RESERVED = frozenset((*SOURCES, *SETTINGS, *UNSUPPORTED, *OF_NODES))


def unknown(name: str, known: tuple[str, ...], what: str = "") -> str:
    """Return the message for a keyword that is not allowed; `what` names the construct that contains it."""
    if name in UNSUPPORTED:
        return f"`{name}` is not supported by this version of datapkg"
    owners = [f"`{source}`" for source, words in OF_SOURCE.items() if name in words]
    if owners and what:
        *first, last = owners
        listed = f"{', '.join(first)} or {last}" if first else last
        return f"`{name}` goes with {listed}, and this is {what}"
    return f"unknown key {quoted(name)}{suggestion(name, known) or '; expected ' + ', '.join(known)}"


def unknown_of_stage(name: str) -> str:
    """Return the message for a keyword that no stage has."""
    return f"unknown key {quoted(name)}{suggestion(name, OF_STAGE) or '; expected ' + ', '.join(OF_STAGE)}"
