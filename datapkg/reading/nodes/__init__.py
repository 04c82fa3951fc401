"""The nodes of a package as Python objects, one class a kind."""

from __future__ import annotations

from datapkg.reading.nodes.arrays import Array
from datapkg.reading.nodes.base import CLASSES
from datapkg.reading.nodes.files import File
from datapkg.reading.nodes.groups import Group, Package
from datapkg.reading.nodes.tables import Table

# Groups make nodes of every kind, and arrays, files and tables know the class that groups extend. So the classes meet
# in a table that is filled here, before any module of this package can be used.
CLASSES.update(package=Package, group=Group, table=Table, file=File, array=Array)
