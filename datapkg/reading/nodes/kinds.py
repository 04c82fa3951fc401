"""Which class stands for which kind of node."""

from __future__ import annotations

from datapkg.reading.nodes.arrays import Array
from datapkg.reading.nodes.base import Node
from datapkg.reading.nodes.files import File
from datapkg.reading.nodes.groups import Group, Package
from datapkg.reading.nodes.tables import Table

CLASSES: dict[str, type[Node]] = {"package": Package, "group": Group, "table": Table, "file": File, "array": Array}
