"""What is to be built, as plain values: the form into which build files, directories and values in memory are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.format.names import Ref


@dataclass(frozen=True)
class FileSource:
    """A file, and how it is shown and recorded: relative to the folder that is built, with `/`."""

    path: Path
    shown: str


@dataclass(frozen=True)
class PackageSource:
    """A node, group or the whole of another package."""

    ref: Ref


@dataclass(frozen=True)
class ValueSource:
    """A value in memory: a DataFrame, an Arrow table, a numpy array."""

    value: Any


@dataclass(frozen=True)
class Check:
    """A demand on a table: each of `rules` (a kind with its argument) holds for `columns`, None for all that it fits.

    `severity` is "error" or "warn"; `place` says where it was defined.
    """

    name: str
    rules: dict[str, Any]
    columns: tuple[str, ...] | None = None
    severity: str = "error"
    place: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """One node to build (a package source may become many); `place` says where it was asked for."""

    path: str
    source: FileSource | PackageSource | ValueSource
    transform: str = "id"
    kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class BuildSpec:
    """A whole package to build.

    `groups` are those that somebody named, with their metadata; `skipped` the files left out, each with the reason;
    `origin` says what it was read from: "build file", "directory", "file" or "values".
    """

    origin: str
    nodes: list[NodeSpec]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    root: Path | None = None
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
