"""What is to be built, as plain values: the form into which build files, directories and values in memory are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.format.names import Ref

if TYPE_CHECKING:
    from datapkg.building.spec.deferred_transform import DeferredTransform


@dataclass(frozen=True)
class FileSource:
    """A file, and how it is shown and recorded: relative to the folder that is built, with `/`.

    `file_name` is the original name, where that of `path` is another (downloaded, taken out of an archive); `record`
    what the record says beside: a URL, a member of an archive. `within` is the folder that it may not lead out of, if
    there is one, also at the moment in which it is opened.
    """

    path: Path
    shown: str
    file_name: str = ""
    record: dict[str, Any] = field(default_factory=dict, hash=False)
    within: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.file_name or self.path.name


@dataclass(frozen=True)
class ChecksumPlace:
    """The stretch of a build file in which a `sha256` stands, or into which one goes behind `lead`.

    Lines count from 1, columns from 0, as `document.Item` has them.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    lead: str = ""


@dataclass(frozen=True)
class UrlSource:
    """A file to download, or a member of an archive: something becomes a `FileSource` of it before anything is built.

    `sha256` is what its bytes must be, "" where the build file does not say; `extract` names members of an archive, of
    `inside` where that is a file beside the build file. `how` says what to read files as whose names are known only
    then, `written` where the sum stands.
    """

    url: str = ""
    sha256: str = ""
    extract: str = ""
    inside: FileSource | None = None
    how: DeferredTransform | None = field(default=None, compare=False)
    written: ChecksumPlace | None = field(default=None, compare=False)


@dataclass(frozen=True)
class SqlSource:
    """The rows that a query gives now; `connection` names the environment variable that holds the database's URL."""

    query: str
    connection: str


@dataclass(frozen=True)
class PythonSource:
    """What a function of a module beside the build file returns for these files (and the node's kwargs)."""

    module: Path
    function: str
    files: tuple[FileSource, ...] = ()


@dataclass(frozen=True)
class FilesSource:
    """Files of one kind whose rows become one table, in this order; `shown` is the folder or glob that means them."""

    files: tuple[FileSource, ...]
    shown: str


@dataclass(frozen=True)
class PackageSource:
    """A node, group or the whole of another package."""

    ref: Ref


@dataclass(frozen=True)
class ValueSource:
    """A value in memory: a DataFrame, an Arrow table, a numpy array."""

    value: Any


# A new kind of source has its handler in `sources.handlers`, and in a build file its reader in `source_keywords`.
Source = FileSource | FilesSource | UrlSource | SqlSource | PythonSource | PackageSource | ValueSource


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
    source: Source
    transform: str = "id"
    kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class BuildSpec:
    """A whole package to build.

    `groups` are those that somebody named, with their metadata; `skipped` the files left out, each with the reason;
    `origin` says what it was read from: "build file", "directory", "file" or "values". `git` is the repository that it
    was fetched from, for the record: its address and the commit.
    """

    origin: str
    nodes: list[NodeSpec]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    root: Path | None = None
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    git: dict[str, Any] = field(default_factory=dict)
