"""How one source becomes one node: a maker for each kind of transform, and one for values in memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datapkg.building.files import hash_source, open_source, put_file
from datapkg.building.spec import FileSource, NodeSpec, ValueSource
from datapkg.building.transforms import TRANSFORMS
from datapkg.errors import DatapkgError, InvalidInput, TransformFailed
from datapkg.format.manifest import ArrayNode, Block, FileNode, Manifest, Node, TableNode
from datapkg.format.names import shown
from datapkg.objects.base import Objects

if TYPE_CHECKING:
    from datapkg.building.tables import PreparedTable


_NOT_FOR_USERS = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning, ImportWarning)


@dataclass(frozen=True)
class Made:
    """A node, whether its objects were there before, and what the record says about its source."""

    node: Node
    reused: bool
    source: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


class Earlier:
    """The state that a build starts from: which objects hold a content, and whether a node stays what it was."""

    def __init__(self, manifest: Manifest | None, objects: Objects) -> None:
        self._manifest, self._objects = manifest, objects
        tables = [node for node in manifest.nodes if isinstance(node, TableNode)] if manifest else []
        self._tables = {node.content: node for node in reversed(tables)}

    def blocks(self, path: str, content: str) -> list[Block] | None:
        """The objects of a table of this content: of the one at this path, else of any; None if they are not here."""
        before = self._manifest.get(path) if self._manifest else None
        if not isinstance(before, TableNode) or before.content != content:
            before = self._tables.get(content)
        if before is None or self._objects.missing(hash for hash, _ in before.objects()):
            return None
        return before.objects_

    def has(self, path: str, hash: str) -> bool:
        """Whether the node at this path was this one object."""
        before = self._manifest.get(path) if self._manifest else None
        return before is not None and [each for each, _ in before.objects()] == [hash]


def make_node(spec: NodeSpec, objects: Objects, earlier: Earlier) -> Made:
    """Builds one node from a file or a value.

    Raises `BuildFailed` for a file that cannot be read, `TransformFailed` for one that is not what it should be.
    """
    if isinstance(spec.source, ValueSource):
        return _from_value(spec, spec.source.value, objects, earlier)
    assert isinstance(spec.source, FileSource)
    return _MAKERS[TRANSFORMS[spec.transform].kind](spec, spec.source, objects, earlier)


def _make_file(spec: NodeSpec, source: FileSource, objects: Objects, earlier: Earlier) -> Made:
    with open_source(source.path, source.shown) as stream:
        hash, size = put_file(stream, objects)
    node = FileNode(path=spec.path, meta=spec.meta, hash=hash, size=size, file_name=source.name)
    return Made(node, earlier.has(spec.path, hash), _source(spec, source, hash, size))


def _make_array(spec: NodeSpec, source: FileSource, objects: Objects, earlier: Earlier) -> Made:
    keep = TRANSFORMS[spec.transform].keep
    assert keep is not None
    with open_source(source.path, source.shown) as stream:
        with _explained(spec, source):
            dtype, shape = keep(stream)
        stream.seek(0)
        hash, size = put_file(stream, objects)
    node = ArrayNode(
        path=spec.path, meta=spec.meta, dtype=dtype, shape=shape, hash=hash, size=size, file_name=source.name
    )
    return Made(node, earlier.has(spec.path, hash), _source(spec, source, hash, size))


def _make_table(spec: NodeSpec, source: FileSource, objects: Objects, earlier: Earlier) -> Made:
    from datapkg.building.tables import prepare

    transform = TRANSFORMS[spec.transform]
    if transform.keep is not None and not spec.kwargs.get("rewrite"):
        return _keep_table(spec, source, objects, earlier)
    assert transform.read is not None
    with open_source(source.path, source.shown) as stream:
        hash, size = hash_source(stream)
        with _explained(spec, source) as said_by_libraries:
            # Absolute: pandas takes a relative "file:/x" for an address and "~/x" for the home folder.
            table = prepare(transform.read(source.path.absolute(), spec.kwargs, said_by_libraries.append))
    said = _source(spec, source, hash, size)
    node, reused = _table_node(spec, table, objects, earlier, said, source.name)
    return Made(node, reused, said, [f"{source.shown}: {each}" for each in said_by_libraries])


def _keep_table(spec: NodeSpec, source: FileSource, objects: Objects, earlier: Earlier) -> Made:
    """A source that is a table already in the form of an object: its bytes are the one object."""
    keep = TRANSFORMS[spec.transform].keep
    assert keep is not None
    with open_source(source.path, source.shown) as stream:
        with _explained(spec, source):
            content = keep(stream)
        stream.seek(0)
        hash, size = hash_source(stream)
        blocks = None if earlier.has(spec.path, hash) else earlier.blocks(spec.path, content.hash)
        if blocks is None:
            put_file(stream, objects)
    node = TableNode(
        path=spec.path,
        meta=spec.meta,
        columns=content.columns,
        content=content.hash,
        objects_=blocks or [Block(hash, content.rows, size)],
        rows=content.rows,
        file_name=source.name,
    )
    reused = blocks is not None or earlier.has(spec.path, hash)
    return Made(node, reused, _source(spec, source, hash, size))


def _table_node(
    spec: NodeSpec, table: PreparedTable, objects: Objects, earlier: Earlier, said: dict[str, Any], file_name: str = ""
) -> tuple[TableNode, bool]:
    """The node of a table, its objects those of an earlier state or new; how these were written is added to `said`."""
    known = blocks = earlier.blocks(spec.path, table.content)
    if blocks is None:
        blocks, said["writer"] = table.put(objects)
    node = TableNode(
        path=spec.path,
        meta=spec.meta,
        columns=table.columns,
        content=table.content,
        objects_=blocks,
        rows=table.rows,
        file_name=file_name,
    )
    return node, known is not None


_MAKERS: dict[str, Callable[[NodeSpec, FileSource, Objects, Earlier], Made]] = {
    "table": _make_table,
    "array": _make_array,
    "file": _make_file,
}


def _from_value(spec: NodeSpec, value: Any, objects: Objects, earlier: Earlier) -> Made:
    import numpy

    from datapkg.building.tables import prepare

    if isinstance(value, numpy.ndarray):
        return _from_array(spec, value, objects, earlier)
    with _explained(spec, None) as said_by_libraries:
        table = prepare(_as_table(value))
    said: dict[str, Any] = {"path": spec.path}
    node, reused = _table_node(spec, table, objects, earlier, said)
    return Made(node, reused, said, [f"{spec.path}: {each}" for each in said_by_libraries])


def _from_array(spec: NodeSpec, value: Any, objects: Objects, earlier: Earlier) -> Made:
    from datapkg.building.transforms.numpy_array import check_dtype, to_bytes

    with _explained(spec, None):
        dtype, data = check_dtype(value.dtype), to_bytes(value)
    hash = objects.put_bytes(data)
    node = ArrayNode(path=spec.path, meta=spec.meta, dtype=dtype, shape=list(value.shape), hash=hash, size=len(data))
    return Made(node, earlier.has(spec.path, hash), {})


def _as_table(value: Any) -> Any:
    import pandas
    import pyarrow

    from datapkg.building.frames import table_from_arrow, table_from_frame

    return table_from_frame(value) if isinstance(value, pandas.DataFrame) else table_from_arrow(pyarrow.table(value))


def _source(spec: NodeSpec, source: FileSource, hash: str, size: int) -> dict[str, Any]:
    said = {"path": spec.path, "file": source.shown, "hash": hash, "size": size, "transform": spec.transform}
    provider = TRANSFORMS[spec.transform].provider
    more = {"kwargs": spec.kwargs, "provider": provider}
    return {**said, **{name: value for name, value in more.items() if value}}


@contextmanager
def _explained(spec: NodeSpec, source: FileSource | None) -> Iterator[list[str]]:
    """Turns what a library raises into `TransformFailed`, in one line; gives a list that its warnings are added to."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        except InvalidInput as error:
            raise _failure(spec, source, error, error.hint) from error
        except DatapkgError:
            raise
        except Exception as error:
            raise _failure(spec, source, error) from error
    said += dict.fromkeys(str(each.message) for each in caught if not issubclass(each.category, _NOT_FOR_USERS))


def _failure(spec: NodeSpec, source: FileSource | None, error: Exception, hint: str = "") -> TransformFailed:
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    if source is None:
        return TransformFailed(f"{shown(spec.path)} cannot be kept: {reason}", hint=hint, node=spec.path)
    row = re.search(r"\b(?:line|row) (\d+)", reason)
    place = f"{spec.place}: " if spec.place and spec.place != source.shown else ""
    return TransformFailed(
        f"{place}{shown(source.shown)} cannot be read as {spec.transform}: {reason}",
        hint=hint or f"to keep the file as it is, say in a build file: {{file: {source.shown}, transform: id}}",
        file=source.shown,
        node=spec.path,
        transform=spec.transform,
        **({"row": int(row[1])} if row else {}),
    )
