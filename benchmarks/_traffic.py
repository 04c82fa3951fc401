"""What a process of ours sends and receives: bodies, as its sessions with a registry count them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import MB, Row, used

COUNTED = """
import json, sys, time
from datapkg.remote.session import Session
sessions, begin = [], Session.__init__
def noted(self, *values, **options):
    begin(self, *values, **options)
    sessions.append(self)
Session.__init__ = noted
import datapkg
start = time.perf_counter()
{code}
taken = time.perf_counter() - start
sent, received = (sum(getattr(each, name) for each in sessions) for name in ("sent_bytes", "received_bytes"))
with open(sys.argv[1], "w") as file:
    json.dump([taken, sent, received], file)
"""


def traffic(code: str, environ: Mapping[str, str]) -> Row:
    """Runs Python in a process of its own: its seconds, megabytes sent and received, and the most memory."""
    with TemporaryDirectory() as folder:
        said = Path(folder) / "said.json"
        usage = used(sys.executable, "-c", COUNTED.format(code=code), said, environ=environ)
        taken, sent, received = json.loads(said.read_text())
    return {
        "seconds": taken,
        "CPU s": usage.cpu,
        "MB sent": sent / MB,
        "MB received": received / MB,
        "peak MB": usage.peak / MB,
    }
