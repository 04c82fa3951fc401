"""Copy bytes within Azure Blob Storage, in one request that ends when they are copied.

The request of obstore may be answered before a copy is done, and its answer does not say so.
"""

from __future__ import annotations

from urllib.request import Request, urlopen

MAX_BYTES = 256 << 20
"""Azure copies up to this size while the request waits."""
TIMEOUT_S = 120


def is_copied(source: str, target: str) -> bool:
    """Copy from an address that is signed for reading to one that is signed for writing; return whether it is done.

    Nothing is raised where it is not: the caller has another way.
    """
    headers = {"x-ms-copy-source": source, "x-ms-requires-sync": "true", "Content-Length": "0"}
    try:
        with urlopen(Request(target, b"", headers, method="PUT"), timeout=TIMEOUT_S) as answer:
            return (answer.status, answer.headers.get("x-ms-copy-status")) == (202, "success")
    except (OSError, ValueError):
        return False
