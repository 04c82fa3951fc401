"""Thin wheels, unpacked into a folder as pip does it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from datapkg.format.manifest.parsed import Manifest
from datapkg.format.thin_wheel import thin_wheel, wheel_version


def put_wheel(library: Path, manifest: Manifest, package: str, registry: str) -> Path:
    """Unpack the wheel of a state; returns the file of its pin."""
    wheel = thin_wheel(manifest, package, registry, wheel_version(None, 1, manifest.hash))
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        archive.extractall(library)
    return library / f"datapkg/data/{package}.pin.json"
