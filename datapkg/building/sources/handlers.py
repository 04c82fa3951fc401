"""The table of sources: the handler of each kind of source."""

from __future__ import annotations

from typing import Any

from datapkg.building.sources.base import SourceHandler
from datapkg.building.sources.file import FileHandler
from datapkg.building.sources.files import FilesHandler
from datapkg.building.sources.function import FunctionHandler
from datapkg.building.sources.package import PackageHandler
from datapkg.building.sources.results import ResultsHandler
from datapkg.building.sources.sql import SqlHandler
from datapkg.building.sources.stage import StageHandler
from datapkg.building.sources.url import UrlHandler
from datapkg.building.sources.value import ValueHandler
from datapkg.building.spec.model import (
    FileSource,
    FilesSource,
    PackageSource,
    PythonSource,
    ResultsSource,
    Source,
    SqlSource,
    StageSource,
    UrlSource,
    ValueSource,
)

HANDLERS: dict[type, SourceHandler[Any]] = {
    FileSource: FileHandler(),
    FilesSource: FilesHandler(),
    UrlSource: UrlHandler(),
    SqlSource: SqlHandler(),
    PythonSource: FunctionHandler(),
    PackageSource: PackageHandler(),
    StageSource: StageHandler(),
    ResultsSource: ResultsHandler(),
    ValueSource: ValueHandler(),
}


def handler_of(source: Source) -> SourceHandler[Any]:
    """Return the handler of a source."""
    return HANDLERS[type(source)]


def local_file(source: Source) -> FileSource | None:
    """Return the local file that a source consists of; None for other sources."""
    return handler_of(source).local_file(source)
