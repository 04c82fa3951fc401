"""The model of a build as plain values; build files, directories and values in memory are all read into it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.format.names import Ref

if TYPE_CHECKING:
    from datapkg.building.spec.deferred_transform import DeferredTransform


def _nothing() -> dict[str, Any]:
    """Return the one empty mapping of all sources and nodes: there may be a million, and nobody changes theirs."""
    return _NOTHING


_NOTHING: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file; `location` is its path as text, which takes a quarter of the memory of a `Path`."""

    location: str | os.PathLike[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "location", os.fspath(self.location))

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return Path(self.location)


@dataclass(frozen=True, slots=True)
class FileSource(LocatedFile):
    """A file and its name in messages and the record: a path relative to the folder that is built, with `/`.

    `file_name` is the original name if
    that has another one (downloaded, extracted); `record` is added to the record's entry: a URL, an archive member. If
    `within` is set, the file must be inside this folder, also at the time it is opened.
    """

    shown: str
    file_name: str = ""
    record: dict[str, Any] = field(default_factory=_nothing, hash=False)
    within: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Return the original name of the file."""
        return self.file_name or os.path.basename(self.location)


@dataclass(frozen=True)
class ChecksumPlace:
    """The position of a `sha256` in a build file, or the position at which to insert one after the text `lead`.

    Lines count from 1, columns from 0, as in `document.Item`.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    lead: str = ""


@dataclass(frozen=True)
class UrlSource:
    """A file to download, or an archive member; it is replaced by a `FileSource` before nodes are built.

    `sha256` is the expected checksum, "" if the build file has none; `extract` names archive members, of the file
    `inside` if that is an archive beside the build file. `claims` are its publisher's sums by algorithm, MD5 or SHA-1,
    beside ours. `how` determines how to read files whose names are not known before, `written` is the position of the
    checksum.
    """

    url: str = ""
    sha256: str = ""
    extract: str = ""
    inside: FileSource | None = None
    how: DeferredTransform | None = field(default=None, compare=False)
    written: ChecksumPlace | None = field(default=None, compare=False)
    claims: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class SqlSource:
    """The current rows of a query; `connection` names the environment variable that holds the database's URL."""

    query: str
    connection: str


@dataclass(frozen=True)
class PythonSource:
    """The return value of a function in a module beside the build file, called with these files and kwargs."""

    module: Path
    function: str
    files: tuple[FileSource, ...] = ()


@dataclass(frozen=True)
class FilesSource:
    """Files of one kind whose rows become one table, in this order; `shown` is the folder or glob that lists them."""

    files: tuple[FileSource, ...]
    shown: str


@dataclass(frozen=True)
class PackageSource:
    """A node or group of another package, or all of it."""

    ref: Ref


@dataclass(frozen=True)
class StageSource:
    """An output of a stage of the build file: a file, or a folder that becomes a group.

    It is replaced by a `FileSource` for each file when the stage has run; `how` determines how they are read,
    `line` is where it was written, and `members` has the stages of which this is an output if there are several, by
    what tells them apart.
    """

    stage: str
    output: str
    how: DeferredTransform | None = field(default=None, compare=False)
    line: int = field(default=1, compare=False)
    members: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class RunResult:
    """What became of one run of a stage: its label, its state ("done", "failed" or "stopped") and its params.

    `inputs` say what it read, each as an exact ref of a package or a hash; `metrics` is the hash of what it reported,
    "" for nothing.
    """

    label: str
    state: str
    params: dict[str, Any]
    inputs: dict[str, str]
    metrics: str


@dataclass(frozen=True)
class ResultsSource:
    """What the runs of a stage reported: a row for each run or, with `steps`, for each report.

    `runs` are known when all have ended; `line` and `members` are as in `StageSource`.
    """

    stage: str
    steps: bool = False
    line: int = field(default=1, compare=False)
    members: dict[str, str] = field(default_factory=dict, compare=False)
    runs: tuple[RunResult, ...] = ()


@dataclass(frozen=True)
class ValueSource:
    """A value in memory: a DataFrame, an Arrow table or a numpy array."""

    value: Any


# A new kind of source has its handler in `sources.handlers`, and in a build file its reader in `source_keywords`.
Source = (
    FileSource
    | FilesSource
    | UrlSource
    | SqlSource
    | PythonSource
    | PackageSource
    | StageSource
    | ResultsSource
    | ValueSource
)


@dataclass(frozen=True)
class StageInput:
    """What a stage reads.

    `kind` says what `text` names: a "node" of this build by its path, the output of another "stage" (`name/output`), a
    "package" or a node in one by a ref, or a "path" beside the build file. A table arrives as a file of this `form`.
    `members` are as in `StageSource`.
    """

    kind: str
    text: str
    form: str = "parquet"
    members: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What a stage uses while it runs: cores, bytes of memory, and GPUs."""

    cpu: float = 1
    memory_bytes: int = 0
    gpu: int = 0


@dataclass(frozen=True)
class StopRule:
    """No further run of a sweep begins once one has reported this metric at most, or else at least, at a value."""

    metric: str
    value: float
    is_minimum: bool


@dataclass(frozen=True)
class Stage:
    """A command or function that makes files; `place` is where it was defined.

    `run` is its words, with names of inputs, params and outputs in braces; with `shell`, one text for the shell.
    `python` is the function instead. `outputs` maps names to file names, which end in a slash for a folder. `code` are
    its files, `env` the environment variables that it depends on, `timeout_s` is None for no limit.
    Of the stages of one matrix, at most `concurrency` run at once. With an `image` it runs in a container.
    """

    name: str
    run: tuple[str, ...] = ()
    shell: bool = False
    python: PythonSource | None = None
    inputs: dict[str, StageInput] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    env: tuple[str, ...] = ()
    code: tuple[FileSource, ...] = ()
    timeout_s: float | None = None
    retries: int = 0
    isolated: bool = False
    place: str = ""
    resources: Resources = Resources()
    concurrency: int | None = None
    image: str = ""
    network: bool = False
    early_stopping: tuple[StopRule, ...] = ()

    @property
    def command(self) -> str:
        """The command as it is shown."""
        if self.python:
            return f"python {self.python.module.stem}:{self.python.function}"
        return self.run[0] if self.shell else shlex.join(self.run)


@dataclass(frozen=True)
class Check:
    """A check of a table: each of `rules` (kind and argument) must hold for `columns`, None for all that it fits.

    `severity` is "error" or "warn"; `place` is where it was defined.
    """

    name: str
    rules: dict[str, Any]
    columns: tuple[str, ...] | None = None
    severity: str = "error"
    place: str = ""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node to build (a package source may become many); `place` is where it was requested."""

    path: str
    source: Source
    transform: str = "id"
    kwargs: dict[str, Any] = field(default_factory=_nothing)
    meta: dict[str, Any] = field(default_factory=_nothing)
    place: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class BuildSpec:
    """A package to build.

    `groups` are groups that are named explicitly, with their metadata; `skipped` are the excluded files, each with the
    reason; `origin` is what it was read from: "build file", "directory", "file" or "values". `git` is the repository
    that it was fetched from, for the record: its URL and the commit. `stages` are in an order in which they can run;
    `file` is the build file that has them.
    """

    origin: str
    nodes: list[NodeSpec]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    root: Path | None = None
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    git: dict[str, Any] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    file: Path | None = None
