"""Parse the source of a node: one reader for each source keyword."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from datapkg.building.spec import keywords
from datapkg.building.spec.concat import is_concat, read_many
from datapkg.building.spec.globs import is_glob
from datapkg.building.spec.model import (
    FileSource,
    FilesSource,
    PackageSource,
    PythonSource,
    ResultsSource,
    SqlSource,
    StageSource,
    UrlSource,
)
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.source_paths import SourceFolder
from datapkg.building.spec.sql_python import read_keywords, read_python, read_sql
from datapkg.building.spec.transform_options import TransformOptions, transform_of
from datapkg.building.spec.url_extract import read_inside, read_url
from datapkg.errors import InvalidName
from datapkg.format.names import Ref
from datapkg.format.urls import file_name

Source = FileSource | FilesSource | UrlSource | SqlSource | PythonSource | PackageSource | StageSource | ResultsSource


@dataclass(frozen=True)
class SourceReader:
    """A source and how it is read; `may_be_table` is true if its kind is known only when it is opened."""

    source: Source
    transform: str = "id"
    kwargs: dict[str, Any] = field(default_factory=dict)
    may_be_table: bool = True


def read_source(
    mapping: NodeMapping, folder: SourceFolder, reading: TransformOptions, update: bool
) -> SourceReader | None:
    """Return the one source of a node; record a mistake and return None unless there is exactly one valid source."""
    kinds = [word for word in keywords.SOURCES if word in mapping and not (word == "file" and "python" in mapping)]
    for word in [word for word in kinds if word in keywords.UNSUPPORTED]:
        mapping.wrong(word, keywords.unknown(word, ()))
        return None
    if len(kinds) > 1:
        mapping.problems.add(
            mapping.line, mapping.place, f"has both `{kinds[0]}` and `{kinds[1]}`; a node has one source"
        )
        return None
    kind = kinds[0]
    for word in mapping.others((kind, *keywords.OF_SOURCE[kind])):
        mapping.wrong(word, _stray(word, kind))
    if kind == "package":
        return _package(mapping)
    if kind == "sql":
        query = read_sql(mapping)
        return SourceReader(query) if query else None
    if kind == "python":
        return _python(mapping, folder)
    if kind == "stage":
        return _stage(mapping, reading)
    if kind == "results_of":
        return _results(mapping)
    return _url(mapping, reading, update) if kind == "url" else _file(mapping, folder, reading)


def _stray(word: str, kind: str) -> str:
    if kind == "package" and word in ("transform", "kwargs"):
        return "a node of a package is taken as it is; leave this out"
    if kind == "sql" and word in ("transform", "kwargs"):
        return "a query gives a table as it is; leave this out"
    if kind == "results_of" and word in ("transform", "kwargs"):
        return "results are a table as they are; leave this out"
    return keywords.unknown(word, (kind, *keywords.OF_SOURCE[kind]), f"a `{kind}`")


def _file(mapping: NodeMapping, folder: SourceFolder, reading: TransformOptions) -> SourceReader | None:
    text = mapping.text("file", "the path of a file")
    if text is not None and is_concat(mapping):
        return files_as_one(mapping, "file", folder, text, reading)
    file = folder.file(text) if text is not None else None
    if isinstance(file, str):
        mapping.wrong("file", file)
        file = None
    if "extract" in mapping:
        source = read_inside(mapping, file) if file is not None else None
        return _later(source, reading)
    transform, kwargs = reading.of(file.path if file is not None else None)
    return SourceReader(file, transform, kwargs) if file is not None else None


def files_as_one(
    mapping: NodeMapping, word: str, folder: SourceFolder, text: str, reading: TransformOptions
) -> SourceReader | None:
    """Return the files of a folder or glob as one source; record a mistake at `word` and return None if impossible."""
    found = read_many(mapping, folder, text, reading.transform)
    if isinstance(found, str):
        mapping.wrong(word, found)
        return None
    source, transform = found
    named, kwargs = reading.of(source.files[0].path)
    return SourceReader(source, transform if reading.transform is None else named, kwargs)


def _url(mapping: NodeMapping, reading: TransformOptions, update: bool) -> SourceReader | None:
    return _later(read_url(mapping, update=update), reading)


def _later(source: UrlSource | None, reading: TransformOptions) -> SourceReader | None:
    """Return a source whose file is not available yet."""
    many = source is not None and is_glob(source.extract)
    name = "" if source is None or many else PurePosixPath(source.extract).name or file_name(source.url)
    transform, kwargs, how = reading.later(name)
    if source is None:
        return None
    return SourceReader(replace(source, how=how), transform, kwargs, may_be_table=not how.is_settled(name))


def _python(mapping: NodeMapping, folder: SourceFolder) -> SourceReader | None:
    transform = transform_of(mapping) if "transform" in mapping else None
    source, kwargs = read_python(mapping, folder), read_keywords(mapping)
    return SourceReader(source, transform or "id", kwargs) if source else None


def _stage(mapping: NodeMapping, reading: TransformOptions) -> SourceReader | None:
    """Return an output of a stage; how its file is read is settled when its name is known."""
    stage = mapping.text("stage", "the name of a stage")
    output = mapping.text("output", "the name of an output") if "output" in mapping else ""
    if stage is None or output is None:
        return None
    transform, kwargs, how = reading.later("")
    return SourceReader(StageSource(stage, output, how, mapping.line), transform, kwargs)


def _results(mapping: NodeMapping) -> SourceReader | None:
    stage = mapping.text("results_of", "the name of a stage")
    steps = mapping.flag("steps")
    return SourceReader(ResultsSource(stage, steps, mapping.line)) if stage is not None else None


def _package(mapping: NodeMapping) -> SourceReader | None:
    text = mapping.text("package", "user/name, user/name/node or user/name@state")
    try:
        return SourceReader(PackageSource(Ref.parse(text))) if text else None
    except InvalidName as error:
        mapping.wrong("package", str(error))
        return None
