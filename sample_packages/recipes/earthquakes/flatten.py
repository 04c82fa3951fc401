"""The features of a GeoJSON feed as rows."""

import json
from pathlib import Path

import pandas as pd


def rows(feed: Path, table: Path) -> None:
    """Write a row for each feature, in the order of its time; the time of the feed itself is left out."""
    features = json.loads(feed.read_text(encoding="utf-8"))["features"]
    found = []
    for each in features:
        properties = each["properties"]
        longitude, latitude, depth = each["geometry"]["coordinates"]
        found.append(
            {
                "id": each["id"],
                "time": pd.Timestamp(properties["time"], unit="ms", tz="UTC").isoformat(),
                "magnitude": properties["mag"],
                "magnitude_type": properties["magType"],
                "place": properties["place"],
                "kind": properties["type"],
                "longitude": longitude,
                "latitude": latitude,
                "depth_km": depth,
            }
        )
    pd.DataFrame(sorted(found, key=lambda row: (row["time"], row["id"]))).to_csv(table, index=False)
