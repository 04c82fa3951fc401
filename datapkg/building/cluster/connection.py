"""A Dask cluster: started on this machine, or found at an address, and checked before anything runs on it."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from datapkg.building.cluster.resources import WorkerFacts
from datapkg.building.cluster.tasks import ReadTask, StageTask, run_task, stop_stages
from datapkg.building.record import LIBRARIES, versions
from datapkg.errors import BuildFailed, InvalidInput, MissingDependency, Unreachable
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "dask"
SCHEMES = ("tcp://", "tls://")
CONNECT_S, WORKERS_S, STOP_S = 15.0, 30.0, 5.0
_POLL_S = 0.5


class Cluster:
    """A connection to a scheduler, which has at least one worker; every worker has our versions."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self.address = str(client.scheduler.address)

    @property
    def slots(self) -> int:
        """How many tasks run at once now."""
        return sum(self._client.nthreads().values()) or 1

    def call_all(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Return what a function returns in each worker, by the worker's address."""
        with _explained(self.address):
            return dict(self._client.run(function, *args))

    def workers(self) -> dict[str, WorkerFacts]:
        """Return what each worker has, by its address."""
        with _explained(self.address):
            # -1 for all workers: by default, Dask returns five.
            found = self._client.scheduler_info(n_workers=-1)["workers"]
        return {
            key: WorkerFacts(each["nthreads"], each.get("memory_limit") or 0, dict(each.get("resources") or {}))
            for key, each in found.items()
        }

    def run(
        self,
        task: ReadTask | StageTask,
        what: str,
        is_stopped: Callable[[], bool] = lambda: False,
        resources: Mapping[str, float] | None = None,
    ) -> Any:
        """Return the result of a task, which is run again where its worker is lost; raise what it raises.

        `what` names it in messages; it runs on workers that declare the `resources`. Raise `BuildFailed` if it has
        ended several workers, or was stopped.
        """
        from distributed import KilledWorker

        with _explained(self.address):
            # A key of its own: Dask runs tasks with equal keys once, and may answer with an earlier result.
            future = self._client.submit(
                run_task, task, pure=False, key=f"datapkg-{uuid.uuid4().hex}", resources=dict(resources or {}) or None
            )
            # `future.result(timeout)` is not used: where the result and the timeout meet, it raises neither.
            is_done = threading.Event()
            future.add_done_callback(lambda _: is_done.set())
            try:
                while not is_done.wait(_POLL_S):
                    if is_stopped():
                        future.cancel()
                        self.call_all(stop_stages, self._name)
                        raise BuildFailed(f"{what} was stopped")
                return future.result()
            except KilledWorker as error:
                raise BuildFailed(
                    f"{what}: {error.allowed_failures + 1} workers ended while they ran it, perhaps for lack of memory",
                    hint="give the workers more memory, see docs/scale.md",
                ) from error
            finally:
                future.release()

    def check(self) -> None:
        """Raise `InvalidInput` unless scheduler and workers have our versions, `Unreachable` without workers."""
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError as error:
            raise Unreachable(
                f"the cluster at {self.address} has no workers", hint=f"dask worker {self.address}"
            ) from error
        with _explained(self.address):
            found = self._client.get_versions(packages=list(LIBRARIES))
        own = versions()
        places = {"the scheduler": found["scheduler"], **{f"worker {key}": it for key, it in found["workers"].items()}}
        for place, each in places.items():
            if wrong := _differences(own, (each or {}).get("packages", {})):
                raise InvalidInput(
                    f"{place} of the cluster at {self.address} has other versions than this machine: {wrong}; "
                    "the same build would give other bytes there",
                    hint="install the same versions there: pip freeze > versions.txt, pip install -r versions.txt",
                )


def _differences(own: Mapping[str, str], there: Mapping[str, str | None]) -> str:
    """Return what is different, for people; a library that is on neither side is not."""
    found = {name: (there.get(name) or None, own.get(name)) for name in LIBRARIES}
    return ", ".join(f"{name} {a or 'missing'} (here {b or 'missing'})" for name, (a, b) in found.items() if a != b)


def check_address(on: str) -> None:
    """Raise `InvalidInput` for what is no cluster, `MissingDependency`; nothing is contacted."""
    if on != LOCAL and not (on.startswith(SCHEMES) and len(on) > len(SCHEMES[0])):
        known = "dask for processes of this machine, or the address of a scheduler, tcp://HOST:PORT"
        raise InvalidInput(f"{quoted(on)} is not a cluster: expected {known}", hint="--on dask")
    if find_spec("distributed") is None:
        line = "pip install distributed"
        raise MissingDependency(f"distributed is not installed; type: {line}", hint=line)


@contextmanager
def connected(on: str, name: str, workers: int) -> Iterator[Cluster]:
    """Yield a checked cluster: for "dask" one of so many processes of this machine, else the one at an address.

    Raise `InvalidInput` for other versions than those of this machine, `Unreachable`.
    """
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        address: Any = on
        if on == LOCAL:
            # Without a limit of memory, as a build without a cluster has none.
            address = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=None,
                    dashboard_address=None,  # no port is opened
                    silence_logs=50,
                )
            )
        try:
            client = stack.enter_context(Client(address, timeout=CONNECT_S, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            raise Unreachable(
                f"no Dask scheduler answers at {on}: {error}", hint="dask scheduler, which prints its address"
            ) from error
        cluster = Cluster(client, name)
        cluster.check()
        yield cluster


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn the loss of the scheduler into `Unreachable`."""
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CancelledError, CommClosedError) as error:
        raise Unreachable(f"the connection to the cluster at {address} was lost: {error}") from error
