"""Thrift's compact protocol, as Parquet's footers and page indexes use it: any struct as a value, and back.

Nothing of a struct is lost, known or not, so one that is changed in a few fields stays what it was in all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_VARINTS = (_I16, _I32, _I64)
_MAX_DEPTH = 16

Struct = dict[int, tuple[int, Any]]
"""The fields of a struct by their ids: the type, and the value (of a struct a `Struct`, of a list a `List`)."""


@dataclass
class List:
    """A list or set of values of one type."""

    kind: int
    values: list[Any]


def read(data: bytes | memoryview, at: int = 0) -> Struct:
    """Return the struct that begins there; raise ValueError if the bytes are none."""
    try:
        return _FieldReader(memoryview(data), at).struct(_MAX_DEPTH)
    except IndexError:
        raise ValueError("the bytes end within a struct") from None


class _FieldReader:
    def __init__(self, data: memoryview, at: int) -> None:
        self.data, self.at = data, at

    def struct(self, depth: int) -> Struct:
        fields: Struct = {}
        field = 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.number()
            kind = head & 15
            # A boolean field has its value in its head.
            fields[field] = kind, self.value(kind, depth) if kind > _FALSE else kind == _TRUE
        return fields

    def value(self, kind: int, depth: int) -> Any:
        if kind in _VARINTS:
            return self.number()
        if kind == _BINARY:
            return self.bytes(self.varint())
        if kind == _STRUCT and depth:
            return self.struct(depth - 1)
        if kind in (_LIST, _SET) and depth:
            head = self.byte()
            count = self.varint() if head >> 4 == 15 else head >> 4
            # Each value takes at least one byte, so a false count allocates nothing.
            if count > len(self.data):
                raise ValueError("a list is longer than its bytes")
            return List(head & 15, [self.value(head & 15, depth - 1) for _ in range(count)])
        if kind in (_TRUE, _FALSE):  # in a list each takes a byte
            return self.byte() == _TRUE
        if kind in (_BYTE, _DOUBLE):
            return self.bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"a field is of type {kind}")

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def bytes(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self.data):
            raise ValueError("a value ends beyond its bytes")
        return bytes(self.data[self.at - size : self.at])

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number has more than ten bytes")

    def number(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)


def write(fields: Struct) -> bytes:
    """Return the bytes of a struct."""
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _write_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for field, (kind, value) in sorted(fields.items()):
        if kind <= _FALSE:
            kind = _TRUE if value else _FALSE
        if 0 < field - last < 16:
            out.append((field - last) << 4 | kind)
        else:
            out.append(kind)
            _write_number(out, field)
        last = field
        if kind > _FALSE:
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in _VARINTS:
        _write_number(out, value)
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        _write_struct(out, value)
    elif kind in (_LIST, _SET):
        count = len(value.values)
        out.append(min(count, 15) << 4 | value.kind)
        if count > 14:
            _write_varint(out, count)
        for each in value.values:
            _write(out, value.kind, each)
    elif kind <= _FALSE:
        out.append(_TRUE if value else _FALSE)
    else:
        out += value


def _write_number(out: bytearray, value: int) -> None:
    _write_varint(out, (value << 1) ^ (value >> 63))


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
