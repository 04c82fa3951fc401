"""How the type of a column is written in manifests and in `content`: datapkg's own grammar, never a library's text.

string, large_string and string_view are `string`, binary likewise, list and large_list are `list<…>`; run-end encoding
is not shown. Below the top level a dictionary is only an encoding. An extension type shows its name, parameters and
storage, whether or not it is registered here. Names that are not plain words are quoted as in JSON.
"""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import InvalidInput

_PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_+/-]*\Z|[+-][0-9:]+\Z")
_EXTENSION_NAME, _EXTENSION_DATA = b"ARROW:extension:name", b"ARROW:extension:metadata"
_PARAMETERS = ("shape", "dim_names", "permutation", "type_name", "vendor_name")

_FLAT: dict[int, str] = {
    pa.lib.Type_NA: "null",
    pa.lib.Type_BOOL: "bool",
    pa.lib.Type_INT8: "int8",
    pa.lib.Type_INT16: "int16",
    pa.lib.Type_INT32: "int32",
    pa.lib.Type_INT64: "int64",
    pa.lib.Type_UINT8: "uint8",
    pa.lib.Type_UINT16: "uint16",
    pa.lib.Type_UINT32: "uint32",
    pa.lib.Type_UINT64: "uint64",
    pa.lib.Type_HALF_FLOAT: "half",
    pa.lib.Type_FLOAT: "float",
    pa.lib.Type_DOUBLE: "double",
    pa.lib.Type_STRING: "string",
    pa.lib.Type_LARGE_STRING: "string",
    pa.lib.Type_STRING_VIEW: "string",
    pa.lib.Type_BINARY: "binary",
    pa.lib.Type_LARGE_BINARY: "binary",
    pa.lib.Type_BINARY_VIEW: "binary",
    pa.lib.Type_DATE32: "date32",
    pa.lib.Type_DATE64: "date64",
}


def type_text(kind: pa.DataType) -> str:
    """Return the text of a column's type; a field may hold more than its type, for unregistered extensions.

    Raise `InvalidInput` for a type that no table can keep (unions, calendar intervals, views of lists).
    """
    storage = kind.type if isinstance(kind, pa.Field) else kind
    if types.is_dictionary(storage):
        return f"dictionary<{_text(storage.value_type)}{', ordered' if storage.ordered else ''}>"
    return _text(kind)


def is_list(kind: pa.DataType) -> bool:
    """Return whether this is a list of free length, but not a view: pyarrow 26 casts and filters views wrongly."""
    return bool(types.is_list(kind) or types.is_large_list(kind))


def _text(kind: pa.DataType) -> str:
    if isinstance(kind, pa.Field):
        return _field_text(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return _extension_text(kind.extension_name, _parameters(kind), _text(kind.storage_type))
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _text(kind.value_type)
    if kind.id in _FLAT:
        return _FLAT[kind.id]
    return _nested_text(kind) or _parametric_text(kind)


def _nested_text(kind: pa.DataType) -> str:
    if types.is_map(kind):
        return f"map<{_text(kind.key_field)}, {_text(kind.item_field)}>"
    if types.is_fixed_size_list(kind):
        return f"fixed_size_list<{_text(kind.value_field)}>[{kind.list_size}]"
    if is_list(kind):
        return f"list<{_text(kind.value_field)}>"
    if types.is_struct(kind):
        return "struct<" + ", ".join(f"{_word(field.name)}: {_text(field)}" for field in kind.fields) + ">"
    return ""


def _parametric_text(kind: pa.DataType) -> str:
    if types.is_timestamp(kind):
        return f"timestamp[{kind.unit}]" if kind.tz is None else f"timestamp[{kind.unit}, tz={_word(kind.tz)}]"
    if types.is_time(kind):
        return f"time[{kind.unit}]"
    if types.is_duration(kind):
        return f"duration[{kind.unit}]"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if types.is_fixed_size_binary(kind):
        return f"fixed_size_binary[{kind.byte_width}]"
    raise InvalidInput(f"a table cannot keep Arrow's type {kind}")


def _field_text(field: pa.DataType) -> str:
    metadata = field.metadata or {}
    name = metadata.get(_EXTENSION_NAME)
    if name is None or isinstance(field.type, pa.BaseExtensionType):
        return _text(field.type)
    return _extension_text(_decoded(name), _decoded(metadata.get(_EXTENSION_DATA, b"")), _text(field.type))


def _extension_text(name: str, parameters: str, storage: str) -> str:
    return f"extension<{json.dumps(name)}, {json.dumps(parameters)}, {storage}>"


def _parameters(kind: pa.DataType) -> str:
    """Return the parameters as a file has them (types written in Python), or derived from what the type shows."""
    if isinstance(kind, pa.ExtensionType):
        return _decoded(kind.__arrow_ext_serialize__())
    shown = {name: getattr(kind, name) for name in _PARAMETERS if getattr(kind, name, None) is not None}
    return json.dumps(shown, sort_keys=True, separators=(",", ":")) if shown else ""


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _word(text: str) -> str:
    return text if _PLAIN_WORD.match(text) else json.dumps(text, ensure_ascii=False)
