"""Track which packages a program imports or loads and which of their nodes it reads, to pin or to record these."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

from datapkg.api import metrics
from datapkg.api.tracked_run import TrackedRun, time_now
from datapkg.errors import InvalidInput
from datapkg.format.run_record import (
    DONE,
    FAILED,
    FORMAT,
    SUFFIX,
    check_run_name,
    encode_entry,
    parse_record,
)
from datapkg.format.texts import quoted
from datapkg.objects.files import new_file, no_such_path
from datapkg.reading.observers import observing

RUNS = "runs"
_MAX_BYTES = 1 << 30


@contextmanager
def track(
    name: str | None = None, *, params: Mapping[str, Any] | None = None, folder: str | PathLike[str] = RUNS
) -> Iterator[TrackedRun]:
    """Inside, note what any thread of this process imports or loads with datapkg, and which nodes it reads.

    The result has `packages` and `nodes`, lists of exact refs, and `lock(folder)`, which pins them. An import of a
    package that was imported before is not seen, but a read of it is. Child processes are not seen.

    With a name, a file in the folder records them, with `params` and what `datapkg.log_metrics` reports; another run of
    the same name gets a file of its own. Where MLflow has an active run, this run gets tags and dataset inputs of what
    was read; where MLFLOW_TRACKING_URI is set and there is none, a run of this name is made there.
    """
    if name is None and params:
        raise InvalidInput(
            "params are recorded for a run with a name", hint='with datapkg.track("exp-42", params=…): …'
        )
    run = TrackedRun(name or "", _new_record(Path(folder), name) if name is not None else None, params or {})
    run.write_params()
    started_at = datetime.now(UTC)
    metrics.receivers.append(run.report)
    state = FAILED
    try:
        with observing(run):
            yield run
        state = DONE
    # A script that ends by sys.exit(0) is done, not failed.
    except SystemExit as stop:
        state = DONE if stop.code in (None, 0) else FAILED
        raise
    finally:
        metrics.receivers.remove(run.report)
        if run.file is not None:
            run.end(state)
            _write_to_mlflow(run, started_at, state)


def runs(folder: str | PathLike[str] = RUNS) -> list[dict[str, Any]]:
    """Return the runs that `track` recorded in a folder, oldest first.

    Each has `run`, `state` ("done", "failed", or "unfinished" if the program was killed or still runs), `started_at`,
    `ended_at`, `script`, `params`, the last `metrics`, the exact refs in `packages` and `nodes`, and `file`. There are
    none in a folder that does not exist.
    """
    found = []
    for path in Path(folder).glob(f"*{SUFFIX}"):
        is_record = path.is_file() and path.stat().st_size <= _MAX_BYTES
        if is_record and (record := parse_record(path.read_bytes())):
            found.append({**record, "file": str(path)})
    return sorted(found, key=lambda each: (str(each["started_at"]), each["file"]))


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Return what `runs` does, also of no folder at the default place; raise `NotFound` for another path of none."""
    if not folder.is_dir() and folder != Path(RUNS):
        raise no_such_path(folder, "folder")
    return runs(folder)


def _new_record(folder: Path, name: str) -> Path:
    """Return the new file of a run, with its first line."""
    check_run_name(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1_000_000):
            path = folder / f"{name}{f'.{number}' if number > 1 else ''}{SUFFIX}"
            try:
                with new_file(path, mode=0o644) as file:
                    script = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c", "-m") else None
                    file.write(encode_entry(run=name, datapkg=FORMAT, at=time_now(), script=script))
                return path.absolute()
            except FileExistsError:
                continue
    except OSError as error:
        raise InvalidInput(f"{quoted(folder)} cannot hold the record of a run: {error.strerror}") from error
    raise InvalidInput(f"{quoted(folder)} has a million runs of the name {quoted(name)}")


def _write_to_mlflow(run: TrackedRun, started_at: datetime, state: str) -> None:
    """Write to MLflow where it is in use; what goes wrong there is a warning, not the end of the program."""
    from datapkg.settings import UserSettings

    environ = UserSettings().environ
    # MLflow is not imported for those who only have it installed.
    if "mlflow" in sys.modules or environ.get("MLFLOW_TRACKING_URI"):
        from datapkg.api.mlflow_record import write_to_mlflow

        write_to_mlflow(run, started_at, state, can_begin=bool(environ.get("MLFLOW_TRACKING_URI")))
