"""A table as a GeoDataFrame, if its Parquet metadata or its publisher's name a geometry column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa

from datapkg.errors import CorruptObject, InvalidInput, WrongType
from datapkg.format.texts import quoted
from datapkg.reading.tables import arrow_reader

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike

# The CRS of a column for which GeoParquet names none: https://geoparquet.org/releases/v1.1.0
_DEFAULT_CRS = "OGC:CRS84"


def convert(table: TableLike, columns: Sequence[str] | None = None, filters: Any = None) -> gpd.GeoDataFrame:
    """Return a GeoDataFrame with its CRS, which may be written to; raise `InvalidInput` if no column is a geometry."""
    primary, found = _geometries(table)
    frame = table(columns, filters)
    chosen = {name: crs for name, crs in found.items() if name in frame.columns}
    if not chosen:
        raise InvalidInput(
            f"{table.__stored__.place}: no geometry is among the columns asked for; {quoted(primary)} is one"
        )
    for name, crs in chosen.items():
        frame[name] = _series(table, frame[name], crs)
    return gpd.GeoDataFrame(frame, geometry=primary if primary in chosen else next(iter(chosen)))


def _series(table: TableLike, column: pd.Series, crs: Any) -> gpd.GeoSeries:
    try:
        is_text = any(isinstance(each, str) for each in column)
        make = gpd.GeoSeries.from_wkt if is_text else gpd.GeoSeries.from_wkb
        return make(column.astype(object).where(column.notna(), None), index=column.index, crs=crs)
    except Exception as error:  # raised by shapely, pyproj and others
        raise CorruptObject(
            f"{table.__stored__.place}: {quoted(column.name)} cannot be read as geometries: {error}"
        ) from error


def _geometries(table: TableLike) -> tuple[str, dict[str, Any]]:
    """Return the main geometry column, and the CRS of each geometry column."""
    kind = arrow_reader.schema(table.__stored__)
    primary, found = _by_publisher(table) or _by_parquet(table, kind) or _by_arrow(kind) or ("", {})
    found = {name: crs for name, crs in found.items() if name in kind.names}
    if not found:
        raise InvalidInput(
            f"{table.__stored__.place} names no column of geometries: it has no metadata of GeoParquet, and its own "
            f'do not say {{"geometry": COLUMN, "crs": "EPSG:…"}}'
        )
    return primary if primary in found else next(iter(found)), found


def _by_publisher(table: TableLike) -> tuple[str, dict[str, Any]] | None:
    meta = table.meta
    name = meta.get("geometry")
    return (name, {name: meta.get("crs")}) if isinstance(name, str) else None


def _by_parquet(table: TableLike, kind: pa.Schema) -> tuple[str, dict[str, Any]] | None:
    """Return what GeoParquet's metadata, under the key `geo`, name."""
    text = (kind.metadata or {}).get(b"geo")
    if text is None:
        return None
    try:
        geo = json.loads(text)
        columns = {str(name): dict(each) for name, each in geo["columns"].items()}
        primary = str(geo.get("primary_column"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptObject(f"{table.__stored__.place}: its metadata of GeoParquet cannot be read: {error}") from error
    for name, each in columns.items():
        if each.get("encoding") != "WKB":
            path = "geopandas.read_parquet(node.path)"
            raise WrongType(
                f"{table.__stored__.place}: {quoted(name)} is in {quoted(each.get('encoding'))}, not in WKB; try {path}"
            )
    return primary, {name: each.get("crs", _DEFAULT_CRS) for name, each in columns.items()}


def _by_arrow(kind: pa.Schema) -> tuple[str, dict[str, Any]] | None:
    """Return what GeoArrow's metadata of a field name."""
    found = {}
    for field in kind:
        metadata = field.metadata or {}
        if metadata.get(b"ARROW:extension:name") in (b"geoarrow.wkb", b"geoarrow.wkt"):
            try:
                crs = json.loads(metadata.get(b"ARROW:extension:metadata") or b"{}").get("crs")
            except (ValueError, AttributeError, RecursionError):
                crs = None
            found[field.name] = crs
    return (next(iter(found)), found) if found else None
