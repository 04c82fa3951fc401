"""Whatever order pushes, deletions and sweeps happen in, every package that is left can be verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import Step, encode_delta
from datapkg.objects.packs import PackedObjects
from registry_server.services import publish
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import sweep
from tests.examples import examples
from tests.registry_server.asgi import Client, Contents, House, sha256

BASE = bytes(range(200))
# Few contents, so that pushes share objects: a long one and one derived from it, and so many that they become a pack.
FILES = {
    "a": {"a": b"a"},
    "b": {"b": b"b"},
    "base": {"base": BASE},
    "derived": {"derived": BASE + b" and more"},
    "many": {f"m{number}": b"%d" % number for number in range(70)},
}
PACKAGES = ("ada/iris", "ada/sales", "bob/iris")
GRACES = st.sampled_from([timedelta(0), timedelta(hours=1)])
SWEEPS = st.lists(GRACES, min_size=1, max_size=3)
REFUSED = {403, 404, 409, 422}


@dataclass(eq=False)
class Begun:
    """A push that has begun."""

    client: Client
    package: str
    contents: Contents
    path: str
    latest: str | None


class Sweeping:
    """A home of objects that is swept after each upload, before the database lists what was uploaded."""

    def __init__(self, home: PackedObjects, sweep: Callable[[], None]) -> None:
        self._home, self._sweep = home, sweep
        self.loose = home.loose

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        stored = self._home.put(stream, expected)
        self._sweep()
        return stored

    def put_several(self, items: Mapping[str, bytes]) -> None:
        self._home.put_several(items)
        self._sweep()


class Interleavings(RuleBasedStateMachine):
    """A registry, and what its packages are expected to hold."""

    pushes = Bundle("pushes")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.house = House(self.folder)
        self.users = {name: self.house.user(name) for name in ("ada", "bob")}
        self.hours = 0.0
        self.states: dict[str, dict[str, Contents]] = {}

    def teardown(self) -> None:
        if hasattr(self, "house"):
            assert check(self.house.registry, THE_OPERATOR).damaged == []
            self.house.close()
            shutil.rmtree(self.folder)

    @rule(target=pushes, package=st.sampled_from(PACKAGES), names=st.sets(st.sampled_from(sorted(FILES)), min_size=1))
    def start(self, package: str, names: set[str]) -> Begun:
        contents = Contents({path: data for name in sorted(names) for path, data in FILES[name].items()})
        client = self.users[package.split("/")[0]]
        started = client.start(package, contents.manifest)
        path = f"{wire.PACKAGES}/{package}/pushes/{started['push']}"
        return Begun(client, package, contents, path, started["latest"])

    @rule(push=pushes, sweeps=st.none() | SWEEPS, share=st.sampled_from([0.3, 1.0]))
    def upload(self, push: Begun, sweeps: list[timedelta] | None, share: float) -> None:
        """Ask what is missing, and upload a part of it; with sweeps, they come before the upload is noted."""
        answer = push.client.post(f"{push.path}/missing", {"hashes": list(push.contents.bodies)})
        if answer.status != 200:
            assert answer.status in REFUSED
            return
        missing = answer.json()["missing"]
        wanted = missing[: round(len(missing) * share)]
        with self.swept_while_storing(sweeps or []):
            body = b"".join(encode_frames(push.contents.needed(wanted)))
            assert push.client.post(f"{push.path}/objects", body=body).status in {200, *REFUSED}

    @rule(push=pushes, sweeps=st.none() | SWEEPS)
    def upload_delta(self, push: Begun, sweeps: list[timedelta] | None) -> None:
        new = FILES["derived"]["derived"]
        steps = [Step(sha256(BASE), 0, len(BASE)), Step(None, len(BASE), len(new) - len(BASE))]
        body = b"".join(encode_delta(steps, memoryview(new)))
        with self.swept_while_storing(sweeps or []):
            answer = push.client.put(f"{push.path}/objects/{sha256(new)}/delta", body=body)
        assert answer.status in {200, *REFUSED}

    @rule(push=consumes(pushes), sweeps=st.none() | SWEEPS, complete=st.booleans())
    def publish(self, push: Begun, sweeps: list[timedelta] | None, complete: bool) -> None:
        """Publish; with sweeps, they come between the checks and the transaction that publishes."""
        if complete:
            self.upload(push, None, 1.0)
        check = publish._check_tables

        def swept(*arguments: Any) -> Any:
            checked = check(*arguments)
            self.sweep(sweeps or [])
            return checked

        with mock.patch.object(publish, "_check_tables", swept):
            answer = push.client.post(
                f"{push.path}/publish", {"manifest": push.contents.manifest.hash, "force": True, "tag": "stable"}
            )
        assert answer.status in {200, *REFUSED}, answer.text
        if answer.status == 200:
            self.states.setdefault(push.package, {})[push.contents.manifest.hash] = push.contents

    @rule(package=st.sampled_from(PACKAGES))
    def delete(self, package: str) -> None:
        answer = self.users[package.split("/")[0]].delete(f"{wire.PACKAGES}/{package}")
        assert (answer.status < 300) == (package in self.states)
        self.states.pop(package, None)

    @rule(package=st.sampled_from(PACKAGES))
    def untag(self, package: str) -> None:
        self.users[package.split("/")[0]].delete(f"{wire.PACKAGES}/{package}/tags/stable")

    @rule(hours=st.sampled_from([0.5, 2, 30]))
    def wait(self, hours: float) -> None:
        self.hours += hours
        ahead = timedelta(hours=self.hours)
        self.house.registry = replace(self.house.registry, now=lambda: datetime.now(UTC) + ahead)

    @rule(graces=SWEEPS)
    def sweep(self, graces: list[timedelta]) -> None:
        for grace in graces:
            sweep(self.house.registry, THE_OPERATOR, grace=grace)
        assert check(self.house.registry, THE_OPERATOR).damaged == []

    @rule(grace=GRACES, steps=st.integers(0, 20))
    def sweep_a_part(self, grace: timedelta, steps: int) -> None:
        left = iter(range(steps))
        sweep(self.house.registry, THE_OPERATOR, lambda: next(left, None) is None, grace=grace)

    @contextmanager
    def swept_while_storing(self, graces: list[timedelta]) -> Iterator[None]:
        real = self.house.registry

        def run() -> None:
            for grace in graces:
                sweep(real, THE_OPERATOR, grace=grace)

        self.house.registry = replace(real, new_writer=lambda: Sweeping(real.new_writer(), run))  # type: ignore[arg-type, return-value]
        try:
            yield
        finally:
            self.house.registry = real

    @invariant()
    def every_package_can_be_read(self) -> None:
        if not hasattr(self, "house"):
            return
        for package, states in self.states.items():
            client = self.users[package.split("/")[0]]
            for hash, contents in states.items():
                path = f"{wire.PACKAGES}/{package}"
                assert client.get(f"{path}/manifests/{hash}").body == contents.manifest.data
                body = client.post(f"{path}/objects/read", {"hashes": list(contents.bodies)}).body
                assert body == b"".join(encode_frames(contents.bodies.items()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_packages_stay_whole_whatever_is_swept_meanwhile() -> None:
    bounds = settings(
        max_examples=examples(6, 250),
        stateful_step_count=examples(20, 50),
        deadline=None,
        phases=[Phase.generate, Phase.shrink][: examples(1, 2)],
    )

    run_state_machine_as_test(Interleavings, settings=bounds)
