"""A date in a reference means the state that was the latest at that moment, by the log of the registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.history import add_version, set_tag
from datapkg.api.install import install_packages
from datapkg.api.listing import show
from datapkg.api.lock import install_locked, write_lock
from datapkg.api.maintenance import delete
from datapkg.api.push import push_package
from datapkg.errors import InvalidName, PackageNotInstalled, VersionNotFound
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.resolve import find_installed
from tests.api.conftest import Machine


@pytest.fixture
def ref(machine: Machine, request: pytest.FixtureRequest) -> Ref:
    server = request.node.callspec.params["machine"] == "server"
    return request.getfixturevalue("person").ref("iris") if server else Ref("ada", "iris")


def push(home: Home, ref: Ref, folder: Path, text: str) -> str:
    path = folder / "data.csv"
    path.write_text(f"n\n{text}\n")
    build_package(home, ref, path)
    return push_package(home, ref).hash


def now() -> str:
    return datetime.now(UTC).isoformat()


def at(ref: Ref, date: str) -> Ref:
    return Ref.parse(f"{ref.package}@{{{date}}}")


def test_the_latest_state_at_a_moment(machine: Machine, ref: Ref, tmp_path: Path) -> None:
    home, other = machine("own"), machine("other")
    before = now()
    states, moments = [], []
    for text in "123":
        states.append(push(home, ref, tmp_path, text))
        moments.append(now())
    set_tag(home, ref.at(State("hash", states[0])), "latest")
    add_version(home, ref.at(State("hash", states[1])), "1.0")
    for moment, state in zip([*moments, now()], [*states, states[0]], strict=True):
        assert other.client().resolve(at(ref, moment)).hash == state
    with pytest.raises(VersionNotFound, match=r"no state as of .* it was first pushed at 2") as raised:
        other.client().resolve(at(ref, before))
    first = next(each for each in other.client().log(ref) if each.hash == states[0])
    assert datetime.fromisoformat(raised.value.detail["first_pushed_at"]) == datetime.fromisoformat(first.pushed_at)
    with pytest.raises(InvalidName, match="in the future"):
        other.client().resolve(at(ref, (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")))


def test_install_load_show_and_lock(machine: Machine, ref: Ref, tmp_path: Path) -> None:
    first = push(machine("own"), ref, tmp_path, "1")
    then = at(ref, now())
    push(machine("own"), ref, tmp_path, "2")
    other = machine("other")
    assert show(other, then).hash == first
    with pytest.raises(PackageNotInstalled) as raised:
        find_installed(other, then)
    assert raised.value.hint == f"datapkg install '{then}'"
    (outcome,) = install_packages(other, [then])
    assert outcome.installed
    assert outcome.installed.hash == first
    assert load(then, other).data().n.tolist() == [1]  # type: ignore[operator]
    third = machine("third")
    project = tmp_path / "project"
    project.mkdir()
    (project / "datapkg.yml").write_text(f"packages:\n- {then}\n")
    assert [pin.hash for pin in write_lock(third, project).pins] == [first]
    assert [each.installed.hash for each in install_locked(third, project, frozen=True) if each.installed] == [first]


def test_a_deleted_package_has_no_earlier_states(machine: Machine, ref: Ref, tmp_path: Path) -> None:
    home = machine("own")
    push(home, ref, tmp_path, "1")
    then = now()
    delete(home, ref)
    second = push(home, ref, tmp_path, "2")
    with pytest.raises(VersionNotFound, match="first pushed"):
        home.client().resolve(at(ref, then))
    assert home.client().resolve(at(ref, now())).hash == second
