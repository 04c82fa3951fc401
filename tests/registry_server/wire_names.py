"""All paths and messages of the HTTP API, from every module of the wire."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import msgspec

from datapkg import format
from datapkg.format import push_wire, wire

MODULES = [
    import_module(f"{format.__name__}.{each.name}")
    for each in pkgutil.iter_modules(format.__path__)
    if each.name.endswith("wire")
]
PATHS = [
    value
    for module in MODULES
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str) and value.startswith("/") and value not in (wire.API, push_wire.PUSH)
]
"""The paths of requests: not the beginnings `API` and `PUSH`, which only other paths have."""
MESSAGES = {
    value.__name__: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__struct_fields__
}
"""The messages by name; their base classes have no fields."""
