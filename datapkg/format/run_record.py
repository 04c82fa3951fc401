"""Records of tracked runs: a file of JSON lines for each run, which grows while the program runs.

The first line names the run; then come its params, what it used and read, and its metrics, in order; the last line says
how it ended, and is missing if the program was killed or still runs.
"""

from __future__ import annotations

import json
import re
from typing import Any

from datapkg.errors import InvalidInput
from datapkg.format.metrics import STEP, Report, parse_report
from datapkg.format.texts import quoted

FORMAT = 1
SUFFIX = ".jsonl"
DONE, FAILED, UNFINISHED = "done", "failed", "unfinished"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}\Z")


def check_run_name(name: str) -> str:
    """Return the name of a run; raise `InvalidInput` for one that cannot name a file."""
    if not isinstance(name, str) or not _NAME.match(name):
        what = f"{quoted(str(name)[:80])} cannot name a run: use letters, digits, and - _ . + between them"
        raise InvalidInput(what, hint='with datapkg.track("exp-42"): …')
    return name


def encode_entry(**entry: Any) -> bytes:
    """Return one line of a record."""
    return json.dumps(entry, default=str).encode() + b"\n"


def metrics_entry(report: Report) -> bytes:
    """Return the line of metrics that were reported."""
    step, values = report
    return encode_entry(metrics=values, **({} if step is None else {STEP: step}))


def parse_record(data: bytes) -> dict[str, Any] | None:
    """Return a record as one value, None for a file that is none; lines that cannot be read are left out."""
    entries = [entry for line in data.splitlines() if (entry := _entry(line))]
    if not entries or not isinstance(entries[0].get("run"), str) or entries[0].get("datapkg") != FORMAT:
        return None
    first = entries[0]
    found: dict[str, Any] = {
        "run": first["run"],
        "state": UNFINISHED,
        "started_at": first.get("at"),
        "ended_at": None,
        "script": first.get("script"),
        "params": {},
        "metrics": {},
        "packages": [],
        "nodes": [],
    }
    for each in entries[1:]:
        _add(found, each)
    return found


def reports_in(data: bytes) -> list[Report]:
    """Return all metrics of a record, in order."""
    found = [_report(entry) for line in data.splitlines() if "metrics" in (entry := _entry(line))]
    return [each for each in found if not isinstance(each, str)]


def _add(found: dict[str, Any], entry: dict[str, Any]) -> None:
    if isinstance(params := entry.get("params"), dict):
        found["params"] |= params
    if "metrics" in entry and not isinstance(report := _report(entry), str):
        found["metrics"] |= report[1]
    for key, name in (("package", "packages"), ("node", "nodes")):
        if isinstance(ref := entry.get(key), str) and ref not in found[name]:
            found[name].append(ref)
    if isinstance(end := entry.get("end"), str):
        found["state"], found["ended_at"] = end, entry.get("at")


def _entry(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _report(entry: dict[str, Any]) -> Report | str:
    values = entry["metrics"] if isinstance(entry["metrics"], dict) else {}
    return parse_report(json.dumps({STEP: entry.get(STEP), **values}).encode())
