"""Write what a tracked run read into MLflow: tags, and dataset inputs that name exact refs."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from datapkg.errors import Notice
from datapkg.format.names import Ref
from datapkg.format.run_record import DONE, reports_in

if TYPE_CHECKING:
    from datapkg.api.tracked_run import TrackedRun

SOURCE_TYPE = "datapkg"
TAG = "datapkg.input."
_RETRIES = 2  # with the pauses of MLflow: some 6 seconds
# Limits of MLflow.
_DIGEST_CHARS, _MAX_BATCH, _MAX_INPUTS = 36, 500, 1000


def write_to_mlflow(run: TrackedRun, started_at: datetime, state: str, *, can_begin: bool) -> None:
    """Write to the active run of MLflow, or one that was active since `started_at`; else, if `can_begin`, to a new one.

    The new one has the name, params and metrics of the tracked run. Nothing is done where MLflow is not installed. What
    fails is a warning.
    """
    try:
        import mlflow
    except ImportError:
        return
    try:
        with _few_retries():
            _write(mlflow, run, started_at, state, can_begin)
    except Exception as error:  # noqa: BLE001 - whatever the server does, the program has its result
        what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        warnings.warn(f"run {run.name} was not written to MLflow: {what}; it is in {run.file}", Notice, stacklevel=2)


@contextmanager
def _few_retries() -> Iterator[None]:
    """Let MLflow give up within some seconds on a server that does not answer, unless the user has set how long.

    By default it tries for more than four minutes, after the work of the program is done.
    """
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES

    if RETRIES.is_set():
        yield
        return
    RETRIES.set(_RETRIES)
    try:
        yield
    finally:
        RETRIES.unset()


def _write(mlflow: Any, run: TrackedRun, started_at: datetime, state: str, can_begin: bool) -> None:
    client = mlflow.MlflowClient()
    if active := _active(mlflow, started_at):
        _write_inputs(client, active, run)
    elif can_begin:
        with mlflow.start_run(run_name=run.name) as begun:
            _write_values(client, begun.info.run_id, run)
            _write_inputs(client, begun.info.run_id, run)
        if state != DONE:
            client.set_terminated(begun.info.run_id, "FAILED")


def _active(mlflow: Any, started_at: datetime) -> str:
    """Return the id of the run that is active, or that ended inside the tracked one; "" if there is none."""
    if active := mlflow.active_run():
        return str(active.info.run_id)
    last = mlflow.last_active_run()
    is_inside = last is not None and last.info.start_time >= started_at.timestamp() * 1000
    return str(last.info.run_id) if is_inside else ""


def _write_inputs(client: Any, run_id: str, run: TrackedRun) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    states: dict[str, list[str]] = {}
    for each in run.packages:
        states.setdefault(each.package, []).append(_hash(each))
    for package, hashes in states.items():
        client.set_tag(run_id, f"{TAG}{package}", ",".join(hashes))
    inputs = [
        DatasetInput(
            Dataset(name, hash[:_DIGEST_CHARS], SOURCE_TYPE, json.dumps({"ref": ref})),
            [InputTag("mlflow.data.context", "datapkg")],
        )
        for name, hash, ref in _inputs(run)
    ]
    if inputs:
        client.log_inputs(run_id, inputs[:_MAX_INPUTS])


def _inputs(run: TrackedRun) -> Iterator[tuple[str, str, str]]:
    """Yield name, hash and exact ref of each node that was read, and of packages of which none was."""
    nodes = run.nodes
    read = {(each.package, each.state) for each in nodes}
    for each in [*nodes, *(each for each in run.packages if (each.package, each.state) not in read)]:
        yield "/".join(filter(None, (each.package, each.path))), _hash(each), str(each)


def _write_values(client: Any, run_id: str, run: TrackedRun) -> None:
    """Write params and all metrics."""
    from mlflow.entities import Metric, Param

    params = [Param(name, str(value)) for name, value in run.params.items()]
    assert run.file is not None
    now = int(time.time() * 1000)
    reports = reports_in(run.file.read_bytes())
    found = [Metric(name, value, now, step or 0) for step, values in reports for name, value in values.items()]
    # MLflow takes at most 100 params at once.
    for start in range(0, max(len(params), 1), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    for start in range(0, len(found), _MAX_BATCH):
        client.log_batch(run_id, metrics=found[start : start + _MAX_BATCH])


def _hash(ref: Ref) -> str:
    assert ref.state is not None
    return ref.state.value
