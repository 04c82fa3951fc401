"""Archives of wheels, whose bytes are the same on every machine.

Members keep their order, have no times, and are stored without compression, whose output depends on the version of
zlib.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can state
_MODE = 0o100644 << 16


def wheel_archive(members: Mapping[str, bytes], info: str) -> bytes:
    """Return a wheel with these members, in this order, and RECORD as the last; `info` is its `.dist-info` folder."""
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in members.items()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**members, record: "\n".join([*lines, f"{record},,", ""]).encode()}.items():
            member = zipfile.ZipInfo(name, _FIRST_TIME)
            member.external_attr = _MODE
            member.create_system = 3  # Unix, wherever it is made
            archive.writestr(member, data)
    return out.getvalue()


def wheel_metadata(generator: str) -> bytes:
    """Return the member WHEEL of a wheel without compiled code."""
    return f"Wheel-Version: 1.0\nGenerator: {generator}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode()


def _digest(data: bytes) -> str:
    """Return the hash of a file in RECORD's form: urlsafe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
