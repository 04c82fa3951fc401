"""A slow, failing or malicious registry: clear errors, effective retries, and no wrong byte accepted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.install_result import PackageOutcome
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.errors import (
    Conflict,
    DatapkgError,
    HashMismatch,
    IntegrityError,
    InvalidInput,
    PackageNotFound,
    TagNotFound,
    Unreachable,
)
from datapkg.format import wire
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.directory import LOCK_WAIT_S
from datapkg.reading.load import load
from datapkg.remote.session import RegistrySession
from datapkg.remote.time_limits import MIN_BYTES_PER_S, WORK_BYTES_PER_S, RetryDeadline
from tests.conftest import Person
from tests.faulty_proxy import Fault, Way, faulty_way
from tests.live_registry import LiveRegistry

MB = 1 << 20


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.session.pause_s", lambda number, retry_after: 0.0)


@pytest.fixture
def way(person: Person) -> Iterator[Way]:
    with faulty_way(person.url) as way:
        yield way


@pytest.fixture
def pushed(person: Person, tmp_path: Path) -> str:
    """Push a package of small and big files, and return its hash."""
    source = tmp_path / "source"
    source.mkdir()
    for i in range(5):
        (source / f"small{i}.bin").write_bytes(os.urandom(1000))
    (source / "big.bin").write_bytes(os.urandom(3 << 20))
    build_package(person.home(), person.ref("things"), source)
    return push_package(person.home(), person.ref("things")).hash


def install(person: Person, way: Way, machine: str = "other") -> PackageOutcome:
    (outcome,) = install_packages(person.home(machine, way.url), [person.ref("things")])
    return outcome


def is_absent(person: Person, machine: str = "other") -> bool:
    return person.home(machine).store.refs.current(Ref(person.name, "things")) is None


@pytest.mark.parametrize("kind", ["500", "503", "drop", "half"])
@pytest.mark.parametrize("where", ["/resolve", "/manifests/", "/objects/read", "/objects/"])
def test_two_failures_are_retried(person: Person, way: Way, pushed: str, kind: str, where: str) -> None:
    way.faults.append(Fault(kind, where, times=2))
    outcome = install(person, way)
    assert outcome.error is None
    assert outcome.installed
    assert outcome.installed.hash == pushed
    assert verify(person.home("other")).damaged == []


@pytest.mark.parametrize("kind", ["500", "503", "drop", "half", "garbage"])
@pytest.mark.parametrize("where", ["/resolve", "/objects/read", "/objects/"])
def test_permanent_failures_are_one_clear_error(person: Person, way: Way, pushed: str, kind: str, where: str) -> None:
    way.faults.append(Fault(kind, where))
    outcome = install(person, way)
    assert isinstance(outcome.error, (Unreachable, IntegrityError))
    assert is_absent(person)
    way.faults.clear()
    assert install(person, way).error is None


@pytest.mark.parametrize(("kind", "hint"), [("404", "is this the address"), ("503", "again later")])
def test_a_status_without_explanation_names_the_request(person: Person, way: Way, kind: str, hint: str) -> None:
    way.faults.append(Fault(kind, "/resolve"))
    error = install(person, way).error
    assert isinstance(error, Unreachable)
    assert re.search(rf"answered GET /\S+/resolve\S* with HTTP status {kind}", error.message)
    assert hint in error.hint


@pytest.mark.parametrize("kind", ["500", "404", "429", "drop", "half", "garbage", "flip", "more"])
def test_new_version_without_usable_chunk_maps_is_fetched_whole(
    person: Person, way: Way, pushed: str, tmp_path: Path, kind: str
) -> None:
    assert install(person, way).error is None
    for name in ("big.bin", "bigger.bin"):
        (tmp_path / "source" / name).write_bytes((tmp_path / "source" / "big.bin").read_bytes() + b"more")
    build_package(person.home(), person.ref("things"), tmp_path / "source")
    newer = push_package(person.home(), person.ref("things")).hash
    way.faults.append(Fault(kind, "/chunks"))
    outcome = install(person, way)
    assert outcome.error is None
    assert outcome.installed
    assert outcome.installed.hash == newer
    assert way.happened
    assert verify(person.home("other")).damaged == []


@pytest.mark.parametrize("kind", ["500", "drop", "half"])
def test_lazy_read_without_chunk_maps_works(person: Person, way: Way, pushed: str, kind: str, tmp_path: Path) -> None:
    way.faults.append(Fault(kind, "/chunks"))
    node = load(person.ref("things"), person.home("lazy", way.url), lazy=True)["big.bin"]
    with node.open() as stream:
        stream.seek(1 << 20)
        assert stream.read(10) == (tmp_path / "source" / "big.bin").read_bytes()[1 << 20 :][:10]
    assert way.happened


@pytest.mark.parametrize("where", ["/manifests/", "/objects/"])
def test_byte_corrupted_in_transit_is_never_accepted(person: Person, way: Way, pushed: str, where: str) -> None:
    way.faults.append(Fault("flip", where))
    outcome = install(person, way)
    assert isinstance(outcome.error, HashMismatch)
    expected, actual = (outcome.error.detail[name] for name in ("expected", "actual"))
    assert re.search(
        rf"{expected} hashes to {actual};.* \(twice, {way.url}/api/\S+{where}{expected}\)", str(outcome.error)
    )
    assert is_absent(person)
    assert verify(person.home("other")).damaged == []


@pytest.mark.parametrize("where", ["/manifests/", "/objects/read", "/objects/"])
def test_byte_corrupted_once_in_transit_is_fetched_again(person: Person, way: Way, pushed: str, where: str) -> None:
    way.faults.append(Fault("flip", where, times=1))
    assert install(person, way).error is None
    assert verify(person.home("other")).damaged == []


@pytest.mark.parametrize("where", ["/objects", "/objects/"])
@pytest.mark.parametrize("times", [1, 1000])
def test_byte_corrupted_on_the_way_up_is_sent_again(
    person: Person, way: Way, tmp_path: Path, where: str, times: int
) -> None:
    (tmp_path / "a.bin").write_bytes(os.urandom(2 << 20))
    (tmp_path / "b.bin").write_bytes(b"small")
    home = person.home(url=way.url)
    build_package(home, person.ref("p"), tmp_path)
    way.faults.append(Fault("flip upload", where, times=times))
    if times == 1:
        assert push_package(home, person.ref("p")).changed
        return
    with pytest.raises(HashMismatch, match=rf"\(twice, {way.url}/api/"):
        push_package(home, person.ref("p"))


def test_registry_that_resolves_to_another_state_is_rejected(person: Person, way: Way, pushed: str) -> None:
    (outcome,) = install_packages(person.home("other", way.url), [person.ref("things@sha256:" + "0" * 64)])
    assert outcome.error is not None
    assert is_absent(person)


def test_received_objects_are_not_fetched_again(person: Person, way: Way, pushed: str) -> None:
    way.faults.append(Fault("500", "/objects/", method="GET"))
    assert install(person, way).error is not None
    way.faults.clear()
    way.seen.clear()
    assert install(person, way).error is None
    assert not [path for _, path in way.seen if path.endswith("/objects/read")], "small objects were received twice"


@pytest.mark.parametrize("kind", ["500", "drop"])
@pytest.mark.parametrize("where", ["/pushes", "/objects", "/publish"])
def test_push_is_retried(person: Person, way: Way, tmp_path: Path, kind: str, where: str) -> None:
    (tmp_path / "a.bin").write_bytes(os.urandom(2 << 20))
    (tmp_path / "b.bin").write_bytes(b"small")
    home = person.home(url=way.url)
    built = build_package(home, person.ref("p"), tmp_path)
    way.faults.append(Fault(kind, where, times=2))
    assert push_package(home, person.ref("p")).hash == built.hash
    (outcome,) = install_packages(person.home("other"), [person.ref("p")])
    assert outcome.installed
    assert outcome.installed.hash == built.hash


def test_interrupted_push_is_resumed(person: Person, way: Way, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"content")
    home = person.home(url=way.url)
    build_package(home, person.ref("p"), tmp_path)
    way.faults.append(Fault("500", "/publish"))
    with pytest.raises(DatapkgError):
        push_package(home, person.ref("p"))
    way.faults.clear()
    assert push_package(home, person.ref("p")).changed


def test_slow_registry_times_out(person: Person, way: Way) -> None:
    way.faults.append(Fault("slow", "/me"))
    with pytest.raises(Unreachable, match=r"within 0.3 s \(DATAPKG_TIMEOUT_S\)"):
        RegistrySession(way.url, tries=1, read_timeout_s=0.3).reply(wire.Me, "GET", wire.ME)


def test_unreachable_registry() -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        RegistrySession("http://127.0.0.1:9").reply(wire.Me, "GET", wire.ME)


def test_token_is_never_sent_to_another_origin(person: Person, way: Way, registry: object) -> None:
    session = RegistrySession(person.url, "dpk_secret").transport._session
    other = session.prepare_request(__import__("requests").Request("GET", way.url + "/api/v1/me"))
    assert "Authorization" not in other.headers


def test_netrc_does_not_override_the_token(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert person.home().client().me().user == person.name
    assert person.home().client(token=None).me().user == person.name
    anonymous = RegistrySession(person.url)
    assert anonymous.reply(wire.Me, "GET", wire.ME) == wire.Me(user=None)


@pytest.mark.parametrize("host", ["data.example.org", "127.example.org", "127.0.0.1.example.org", "10.0.0.1"])
def test_token_is_not_sent_over_plain_http_to_another_host(host: str) -> None:
    with pytest.raises(InvalidInput, match="plain http") as caught:
        RegistrySession(f"http://{host}", "dpk_secret")
    assert "dpk_secret" not in str(caught.value)


def test_time_limit_covers_all_tries(person: Person, way: Way) -> None:
    way.faults.append(Fault("slow", "/me"))
    start = time.monotonic()
    with pytest.raises(Unreachable, match=r"within 0.4 s \(DATAPKG_TIMEOUT_S\)"):
        RegistrySession(way.url, read_timeout_s=0.4).reply(wire.Me, "GET", wire.ME)
    assert time.monotonic() - start < 1.5


def test_received_bytes_extend_the_time_limit(person: Person) -> None:
    patience = RetryDeadline(10)
    with patience.waiting():
        patience._deadline = time.monotonic() + 1
        patience.moved(2 * MIN_BYTES_PER_S)
        assert 2 < patience.left_s < 3.1
        patience.moved(1 << 30)
        assert 9 < patience.left_s <= 10
    assert patience.timeouts() == (10, 10)


def test_work_of_the_registry_extends_the_time_limit() -> None:
    patience = RetryDeadline(10)
    with patience.waiting():
        send_s, read_s = patience.timeouts(0.5, work=100 * WORK_BYTES_PER_S)
        assert 104 < read_s <= 105
        assert LOCK_WAIT_S < send_s < 30
        assert 109 < patience.left_s <= 110


@pytest.mark.parametrize("row_bytes", [0, 20 * MB])
def test_publish_waits_longer_for_many_objects(
    person: Person, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row_bytes: int
) -> None:
    """The registry writes a row for each before it answers, which for a million takes longer than the time limit."""
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(100))
    home = Home({**person.environ("mine", way.url), "DATAPKG_TIMEOUT_S": "1"})
    build_package(home, person.ref("p"), tmp_path)
    monkeypatch.setattr("datapkg.remote.http_client.ROW_BYTES", row_bytes)
    way.faults.append(Fault("late", "/publish", skip=1))  # the check before it answers at once
    if not row_bytes:
        with pytest.raises(Unreachable, match="within 1 s"):
            push_package(home, person.ref("p"))
        return
    pushed = push_package(home, person.ref("p"))
    assert [each.hash for each in person.home("other").client().log(person.ref("p"))] == [pushed.hash]


@pytest.mark.parametrize("size", [MB, 3 * MB])
def test_upload_whose_answer_was_lost_is_not_sent_again(
    person: Person, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("datapkg.remote.objects.RESUMED_BYTES", 2 * MB)
    (tmp_path / "a.bin").write_bytes(os.urandom(size))
    home = person.home("mine", way.url)
    build_package(home, person.ref("p"), tmp_path)
    way.faults.append(Fault("lost", "/objects/", times=1, method="PUT"))
    assert push_package(home, person.ref("p")).bytes_sent < 1.5 * size
    assert way.happened == ["lost"]
    assert install_packages(person.home("theirs"), [person.ref("p")])[0].installed


@pytest.mark.parametrize("kind", ["lost", "504"])
def test_removal_whose_answer_was_lost_is_done(person: Person, way: Way, pushed: str, kind: str) -> None:
    """The next try finds nothing; where the first one was not passed on, that is reported."""
    client, ref = person.home("mine", way.url).client(), person.ref("things")
    client.set_tag(ref, "t", pushed)
    way.faults.append(Fault(kind, "/tags/t", times=1, method="DELETE"))
    assert set(client.remove_tag(ref, "t").tags) == {"latest"}
    way.faults.append(Fault("503", "/tags/t", times=1, method="DELETE"))
    with pytest.raises(TagNotFound):
        client.remove_tag(ref, "t")
    way.faults.append(Fault(kind, "/things", times=1, method="DELETE"))
    client.delete(ref)
    with pytest.raises(PackageNotFound):
        client.delete(ref)


def test_repeated_removal_leaves_what_was_made_since(
    person: Person, way: Way, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first try, whose answer was lost, and the next one, somebody else puts something there again."""
    client, direct, ref = person.home("mine", way.url).client(), person.home("second"), person.ref("things")
    (tmp_path / "new.txt").write_text("new")

    def again() -> None:
        build_package(direct, ref, tmp_path / "new.txt")
        push_package(direct, ref, force=True)

    def tag_again() -> None:
        again()
        direct.client().set_tag(ref, "t", direct.client().resolve(ref).hash)

    def between(make: Callable[[], None]) -> Callable[..., float]:
        def pause(*_: object) -> float:
            make()
            return 0.0

        return pause

    client.set_tag(ref, "t", pushed)
    monkeypatch.setattr("datapkg.remote.session.pause_s", between(tag_again))
    way.faults.append(Fault("lost", "/tags/t", times=1, method="DELETE"))
    assert set(client.remove_tag(ref, "t").tags) == {"latest", "t"}
    monkeypatch.setattr("datapkg.remote.session.pause_s", between(again))
    way.faults.append(Fault("lost", "/things", times=1, method="DELETE"))
    client.delete(ref)
    assert direct.client().package(ref).latest == direct.client().resolve(ref).hash != pushed


def test_removal_of_what_was_changed_meanwhile_is_refused(person: Person, way: Way, pushed: str) -> None:
    client, ref = person.home("mine", way.url).client(), person.ref("things")
    session = RegistrySession(way.url, person.token)
    client.set_tag(ref, "t", pushed)
    for path, params, what in [
        (wire.TAG.format(user=ref.user, name=ref.name, tag="t"), {"hash": "0" * 64}, "was moved to sha256:"),
        (
            wire.PACKAGE.format(user=ref.user, name=ref.name),
            {"created_at": "2020-01-01T00:00:00+00:00"},
            "created anew",
        ),
    ]:
        with pytest.raises(Conflict, match=what):
            session.reply(wire.Deleted, "DELETE", path, params=params)
    assert client.package(ref).tags["t"] == pushed


def test_objects_that_a_killed_push_sent_are_not_sent_again(person: Person, way: Way, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(2 * MB))
    home = person.home("mine", way.url)
    build_package(home, person.ref("p"), tmp_path)
    way.faults.append(Fault("404", "/publish", method="POST", skip=1))
    with pytest.raises(DatapkgError):
        push_package(home, person.ref("p"))
    way.faults.clear()
    assert push_package(home, person.ref("p")).bytes_sent < 10_000


def test_broken_connection_is_named_in_words(person: Person, way: Way) -> None:
    way.faults.append(Fault("drop", "/pushes"))
    with pytest.raises(Unreachable, match="cannot be reached: Remote end closed connection without response"):
        person.home("mine", way.url).client().start_push(person.ref("p"), "0" * 64, [])


def test_redirect_of_a_change_is_named(person: Person, way: Way) -> None:
    way.faults.append(Fault("moved", "/pushes"))
    with pytest.raises(Unreachable, match=r"redirects POST \S+/pushes to http://localhost:9/api/\S+/pushes") as caught:
        person.home(url=way.url).client().start_push(person.ref("p"), "a" * 64, [])
    assert caught.value.hint == "if that is your registry: datapkg config registry http://localhost:9"


def test_redirect_of_a_read_is_named(person: Person, way: Way, registry: LiveRegistry) -> None:
    way.faults.append(Fault("moved", "/resolve"))
    with pytest.raises(Unreachable, match=r"\(redirected to http://localhost:9/api/\S+\) cannot be reached"):
        person.home(url=way.url).client().resolve(person.ref("p"))
    way.faults[:] = [Fault(f"to {registry.url}", "/resolve")]
    with pytest.raises(PackageNotFound, match=rf"redirected to {registry.url}/api/.*; tokens are not sent past"):
        person.home(url=way.url).client().resolve(person.ref("p"))


def test_query_is_not_added_to_the_redirect_target(person: Person, way: Way) -> None:
    with faulty_way(person.url) as other:
        way.faults.append(Fault(f"to {other.url}", "/packages"))
        list(person.home(url=way.url).client().packages("two words"))
        assert [path for _, path in other.seen] == [path for _, path in way.seen]
        assert other.seen[0][1].count("q=") == 1
