"""Measure what a datapkg process sends and receives: bodies, as counted by its registry sessions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import MB, Row, used

COUNTED = """
import json, sys, time
from datapkg.remote.session import RegistrySession
sessions, begin = [], RegistrySession.__init__
def noted(self, *values, **options):
    begin(self, *values, **options)
    sessions.append(self)
RegistrySession.__init__ = noted
import datapkg
start = time.perf_counter()
{code}
taken = time.perf_counter() - start
sent, received = (sum(getattr(each, name) for each in sessions) for name in ("sent_bytes", "received_bytes"))
with open(sys.argv[1], "w") as file:
    json.dump([taken, sent, received], file)
"""


def traffic(code: str, environ: Mapping[str, str]) -> Row:
    """Run Python code in a new process, and return its seconds, megabytes sent and received, and peak memory."""
    with TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        usage = used(sys.executable, "-c", COUNTED.format(code=code), counts, environ=environ)
        taken, sent, received = json.loads(counts.read_text())
    return {
        "seconds": taken,
        "CPU s": usage.cpu,
        "MB sent": sent / MB,
        "MB received": received / MB,
        "peak MB": usage.peak / MB,
    }
