"""tfrecord: read TensorFlow's record files of `tf.train.Example` messages, without TensorFlow.

The frames around the messages are read here, since the `tfrecord` library neither checks their sums nor limits the
length that a frame claims: https://www.tensorflow.org/tutorials/load_data/tfrecord. The messages are decoded by it.
"""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from datapkg.building.readers.source_file import first_pass, open_source_file
from datapkg.building.readers.text_columns import TEXT, as_text, text_columns
from datapkg.errors import InvalidInput, MissingDependency
from datapkg.format.texts import quoted

TFRECORD_KWARGS = frozenset({TEXT})
MAX_RECORD_BYTES = 256 << 20
# The part of the work that the first pass takes, which infers the types.
_SEEN = 0.5
_BATCH_RECORDS, _BATCH_BYTES = 4_096, 32 << 20
_GZIP = b"\x1f\x8b"
_HEAD, _SUM = struct.Struct("<QI"), struct.Struct("<I")
_KINDS = {"bytes_list": "binary", "float_list": "float", "int64_list": "int64"}


def tfrecord(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return a table with a row per Example and a column per feature, ordered by name.

    A feature that has at most one value in every record is a plain column, any other a column of lists. Raise
    `InvalidInput`, with the number of the record, for a damaged frame and for what is not an Example.
    """
    import pyarrow as pa

    from datapkg.building.readers.batches import Batches, described

    text = text_columns(kwargs)
    features: dict[str, _Feature] = {}
    count = 0
    with first_pass(_SEEN):
        for count, example in enumerate(_examples(path), 1):
            for name, feature in example.features.feature.items():
                features.setdefault(name, _Feature()).see(name, feature, count)
    known = {name: each for name, each in sorted(features.items()) if each.kind}
    if not known:
        raise InvalidInput(f"it has {count:,} records and no feature with a value")
    plain = pa.schema([(name, each.type()) for name, each in known.items()])
    schema = as_text(plain.empty_table(), text).schema
    schema = described(schema, {name: count - each.records for name, each in known.items()})

    def read() -> Iterator[Any]:
        rows: list[dict[str, Any]] = []
        size = 0
        for example in _examples(path):
            size += example.ByteSize()
            rows.append({name: known[name].value(each) for name, each in _features(example) if name in known})
            if len(rows) == _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield as_text(pa.Table.from_pylist(rows, schema=plain), text)
                rows, size = [], 0
        if rows:
            yield as_text(pa.Table.from_pylist(rows, schema=plain), text)

    return Batches(schema, read, count)


@dataclass
class _Feature:
    """What was seen of a feature: its kind of list, the records that have values of it, whether one has several."""

    kind: str = ""
    records: int = 0
    is_list: bool = False

    def see(self, name: str, feature: Any, record: int) -> None:
        kind = feature.WhichOneof("kind")
        if kind is None:
            return
        if self.kind and kind != self.kind:
            raise InvalidInput(f"record {record:,}: feature {quoted(name)} is {kind}, and {self.kind} in others")
        self.kind = kind
        values = len(getattr(feature, kind).value)
        self.records += bool(values)
        self.is_list = self.is_list or values > 1

    def type(self) -> Any:
        """Return the Arrow type of the column."""
        import pyarrow as pa

        value = pa.type_for_alias(_KINDS[self.kind])
        return pa.list_(value) if self.is_list else value

    def value(self, feature: Any) -> Any:
        """Return the value of one record: None for a plain feature without one."""
        kind = feature.WhichOneof("kind")
        if kind is None:
            return None
        values = list(getattr(feature, kind).value)
        if self.is_list:
            return values
        return values[0] if values else None


def _features(example: Any) -> Iterator[tuple[str, Any]]:
    yield from example.features.feature.items()


def _examples(path: Path) -> Iterator[Any]:
    """Yield the decoded messages of a file, whole or compressed by gzip."""
    crc32c, message = _libraries(path)
    with path.open("rb") as start:
        is_packed = start.read(len(_GZIP)) == _GZIP
    with open_source_file(path) as file, gzip.open(file) if is_packed else file as stream:
        for number, data in enumerate(_frames(stream, crc32c), 1):  # type: ignore[arg-type]
            example = message()
            try:
                example.ParseFromString(data)
            except Exception as error:  # protobuf's DecodeError; which class it is depends on its implementation
                raise InvalidInput(f"record {number:,} is not a tf.train.Example: {error}") from error
            yield example


def _frames(stream: BinaryIO, crc32c: Callable[[bytes], int]) -> Iterator[bytes]:
    """Yield the bytes of each record, checked against both sums of its frame."""
    number = 0
    while head := stream.read(_HEAD.size):
        number += 1
        if len(head) < _HEAD.size:
            _damaged(number, "the file ends within its length")
        size, length_sum = _HEAD.unpack(head)
        if _masked(crc32c(head[:8])) != length_sum:
            _damaged(number, "the sum of its length differs; is this a TFRecord file?")
        if size > MAX_RECORD_BYTES:
            raise InvalidInput(f"record {number:,} has {size:,} bytes; at most {MAX_RECORD_BYTES:,} are read")
        data = stream.read(size)
        tail = stream.read(_SUM.size)
        if len(data) < size or len(tail) < _SUM.size:
            _damaged(number, f"the file ends within its {size:,} bytes")
        if _masked(crc32c(data)) != _SUM.unpack(tail)[0]:
            _damaged(number, "the sum of its bytes differs")
        yield data


def _damaged(number: int, what: str) -> NoReturn:
    raise InvalidInput(f"record {number:,} is damaged: {what}")


def _masked(crc: int) -> int:
    """Return TensorFlow's masked form of a CRC-32C, tensorflow/core/lib/hash/crc32c.h."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _libraries(path: Path) -> tuple[Callable[[bytes], int], Any]:
    try:
        import crc32c
        from tfrecord import example_pb2
    except ImportError as error:
        raise MissingDependency(
            f"{quoted(os.path.basename(path))} is read with tfrecord, which is not installed",
            hint="pip install tfrecord",
        ) from error
    return crc32c.crc32c, example_pb2.Example
