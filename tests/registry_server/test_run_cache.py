"""The run cache of a package: who may fill and read it, what it verifies, and how long its objects stay."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import Forbidden, InvalidManifest, NotFound, ObjectNotFound, PackageNotFound, QuotaExceeded
from datapkg.format import run_cache_wire, wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import Block, Manifest, TableNode
from registry_server.services import run_cache
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import GRACE, sweep
from tests.registry_server.asgi import Answer, Client, Contents, House, check_clean, sha256
from tests.registry_server.test_sweep import bodies, hashes, later, on_disk, sweep_later

IRIS = f"{wire.PACKAGES}/ada/iris"
KEY, OTHER = sha256(b"key"), sha256(b"other key")
CODE = {"rows.py": sha256(b"def rows(): ...")}
MONTH = timedelta(days=31)


def fill(client: Client, *results: tuple[str, dict[str, str], dict[str, bytes]], package: str = "ada/iris") -> Answer:
    """Push results (key, code, files) to a run cache, as a client does."""
    made = [(key, code, Contents(files)) for key, code, files in results]
    first = made[0][2].manifest
    asked = list({hash: None for _, _, each in made for hash in each.bodies})
    started = client.post(f"{wire.PACKAGES}/{package}/pushes", {"manifest": first.hash, "hashes": asked})
    assert started.status == 200, started.text
    push = f"{wire.PACKAGES}/{package}/pushes/{started.json()['push']}"
    sent = {hash: each.bodies[hash] for _, _, each in made for hash in each.bodies}
    needed = [(hash, sent[hash]) for hash in started.json()["missing"]]
    assert client.post(f"{push}/objects", body=b"".join(encode_frames(needed))).status == 200
    entries = [{"key": key, "code": code, "manifest": each.manifest.hash} for key, code, each in made]
    return client.post(f"{push}/stages", {"entries": entries})


def find(client: Client, *keys: str, package: str = "ada/iris") -> list[dict[str, Any]]:
    answer = client.post(f"{wire.PACKAGES}/{package}/stages/find", {"stages": keys})
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["hits"]
    return found


def test_a_result_is_found_with_who_filled_it_and_read(ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    files = {"out/x": b"one", "out/y": b"two"}
    assert fill(ada, (KEY, CODE, files)).json() == {"added": 1}
    (hit,) = find(ada, KEY, OTHER)
    contents = Contents(files)
    manifest = contents.manifest
    assert (hit["key"], hit["code"], hit["manifest"], hit["by"]) == (KEY, CODE, manifest.hash, "ada")
    assert (hit["manifest_size"], hit["filled_at"][:2]) == (manifest.size_bytes, "20")
    for hash, data in contents.bodies.items():
        assert ada.get(f"{IRIS}/objects/{hash}").body == data
    many = ada.post(f"{IRIS}/objects/read", {"hashes": list(contents.bodies)})
    assert many.body == b"".join(encode_frames(contents.bodies.items()))
    assert ada.get(f"{IRIS}/manifests/{manifest.hash}").status == 404, "it is no state"


def test_writers_write_readers_read_and_to_others_it_does_not_exist(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    fill(ada, (KEY, {}, {"out": b"one"}))
    object, asked = f"{IRIS}/objects/{sha256(b'one')}", {"stages": [KEY]}
    for client in (bob, house.nobody):
        answer = client.post(f"{IRIS}/stages/find", asked)
        absent = client.post(f"{wire.PACKAGES}/ada/absent/stages/find", asked)
        assert (answer.status, answer.text) == (404, absent.text.replace("absent", "iris"))
        assert client.get(object).status == 404
    begun = {"manifest": KEY, "hashes": []}
    assert isinstance(bob.post(f"{IRIS}/pushes", begun).error, Forbidden)
    ada.put(f"{IRIS}/access/bob", {})
    assert [each["by"] for each in find(bob, KEY)] == ["ada"]
    assert bob.get(object).body == b"one"
    assert isinstance(bob.post(f"{IRIS}/pushes", begun).error, Forbidden)
    push = ada.post(f"{IRIS}/pushes", begun).json()["push"]
    added = bob.post(f"{IRIS}/pushes/{push}/stages", {"entries": []})
    assert isinstance(added.error, Forbidden)
    ada.put(f"{IRIS}/access/bob", {"write": True})
    assert fill(bob, (OTHER, {}, {"out": b"two"})).json() == {"added": 1}
    assert [each["by"] for each in find(ada, OTHER)] == ["bob"]
    assert isinstance(bob.post(f"{IRIS}/pushes/{push}/stages", {"entries": []}).error, NotFound)


def test_a_package_that_does_not_exist_has_none(ada: Client) -> None:
    assert isinstance(fill(ada, (KEY, {}, {"out": b"one"}), package="ada/absent").error, PackageNotFound)
    ada.publish("ada/iris", {"a": b"a"})
    ada.publish("ada/other", {"a": b"a"})
    fill(ada, (KEY, {}, {"out": b"one"}))
    assert find(ada, KEY, package="ada/other") == []
    assert ada.get(f"{wire.PACKAGES}/ada/other/objects/{sha256(b'one')}").status == 404


def test_the_same_again_changes_nothing_and_the_newest_replaces_another(ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    ada.put(f"{IRIS}/access/bob", {"write": True})
    fill(ada, (KEY, CODE, {"out": b"one"}))
    before = find(ada, KEY)
    assert fill(bob, (KEY, CODE, {"out": b"one"})).json() == {"added": 0}
    assert find(ada, KEY) == before
    assert fill(bob, (KEY, CODE, {"out": b"two"}), (KEY, {}, {"out": b"three"})).json() == {"added": 2}
    wanted = [({}, "bob", b"three"), (CODE, "bob", b"two")]
    assert [(each["code"], each["by"]) for each in find(ada, KEY)] == [each[:2] for each in wanted]
    assert ada.get(f"{IRIS}/objects/{sha256(b'one')}").status == 404


def test_an_entry_needs_its_objects_and_is_files_alone(ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    whole, lacking = Contents({"out": b"one"}), Contents({"out": b"never sent"})
    block = Block(hash=sha256(b"one"), rows=1, size=3)
    table = TableNode(path="t", columns=[("a", "int64")], content=f"c1:{KEY}", blocks=[block], rows=1)
    wrong = Manifest.make([table], {})
    described = Contents({"out": b"one"}, meta={"title": "x"}).manifest
    push = f"{IRIS}/pushes/{ada.start('ada/iris', whole.manifest)['push']}"
    manifests = [(each.hash, each.data) for each in (whole.manifest, lacking.manifest, wrong, described)]
    body = b"".join(encode_frames([*manifests, (sha256(b"one"), b"one")]))
    assert ada.post(f"{push}/objects", body=body).status == 200
    right = {"key": KEY, "manifest": whole.manifest.hash}
    for manifest, error in ((lacking.manifest, ObjectNotFound), (wrong, InvalidManifest), (described, InvalidManifest)):
        entries = [right, {"key": OTHER, "manifest": manifest.hash}]
        assert isinstance(ada.post(f"{push}/stages", {"entries": entries}).error, error)
    unsent = {"key": OTHER, "manifest": KEY}
    assert isinstance(ada.post(f"{push}/stages", {"entries": [right, unsent]}).error, ObjectNotFound)
    assert find(ada, KEY, OTHER) == [], "all or none"
    for _ in range(2):  # whoever lost the answer asks again
        assert ada.post(f"{push}/stages", {"entries": [right]}).status == 200
    assert len(find(ada, KEY)) == 1


def test_sweep_keeps_the_objects_of_results_that_are_used_and_drops_the_others(house: House, ada: Client) -> None:
    state, used, unused = bodies("state", 80), bodies("used", 80), bodies("unused", 80)
    ada.publish("ada/iris", state)
    fill(ada, (KEY, {}, used), (OTHER, {}, {**unused, **bodies("state", 3)}))
    sweep_later(house, GRACE * 2, GRACE * 4)
    assert on_disk(house) == hashes(state) | hashes(used) | hashes({**unused, **bodies("state", 3)})
    later(house, MONTH * 0.9)
    assert len(find(ada, KEY)) == 1
    later(house, MONTH * 1.1)
    report = sweep(house.registry, THE_OPERATOR, dry_run=True)
    assert (report.expired_results, report.moved_files > 0) == (1, True)
    assert find(ada, OTHER) == []
    sweep_later(house, MONTH * 1.1, MONTH * 1.2)
    assert on_disk(house) == hashes(state) | hashes(used)
    assert len(find(ada, KEY)) == 1
    check_clean(house)


def test_a_deleted_package_takes_its_run_cache_along(house: House, ada: Client) -> None:
    ada.publish("ada/iris", bodies("state", 2))
    fill(ada, (KEY, {}, bodies("cached", 80)))
    assert ada.delete(IRIS).status < 300
    sweep_later(house, GRACE * 2, GRACE * 4)
    assert on_disk(house) == set()
    ada.publish("ada/iris", bodies("state", 2))
    assert find(ada, KEY) == []


def test_a_push_that_was_not_ended_leaves_nothing(house: House, ada: Client) -> None:
    state, cached = bodies("state", 2), bodies("cached", 80)
    ada.publish("ada/iris", state)
    contents = Contents(cached)
    push = ada.start("ada/iris", contents.manifest)["push"]
    sent = b"".join(encode_frames(contents.bodies.items()))
    assert ada.post(f"{IRIS}/pushes/{push}/objects", body=sent).status == 200
    assert find(ada, KEY) == []
    sweep_later(house, timedelta(hours=25), timedelta(hours=50))
    assert on_disk(house) == hashes(state)


def test_a_damaged_result_is_not_offered_and_can_be_pushed_again(house: House, ada: Client) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    fill(ada, (KEY, {}, {"out": b"one"}))
    house.damage(sha256(b"one"))
    found = check(house.registry, THE_OPERATOR)
    assert [(each.hash, each.packages) for each in found.damaged] == [(sha256(b"one"), ["ada/iris"])]
    assert find(ada, KEY) == []
    assert fill(ada, (KEY, {}, {"out": b"one"})).json() == {"added": 0}
    assert len(find(ada, KEY)) == 1
    assert ada.get(f"{IRIS}/objects/{sha256(b'one')}").body == b"one"


@pytest.mark.parametrize(
    ("setting", "limit"), [("max_stage_result_bytes", 100), ("max_run_cache_bytes", 100), ("max_stage_results", 1)]
)
def test_limits_name_their_setting(tmp_path: Path, setting: str, limit: int) -> None:
    house = House(tmp_path, **{setting: limit})
    ada = house.user("ada")
    ada.publish("ada/iris", {"a": b"a"})
    error = fill(ada, (KEY, {}, {"out": b"x" * 60}), (OTHER, {}, {"out": b"y" * 60})).error
    assert isinstance(error, QuotaExceeded)
    assert f"DATAPKG_REGISTRY_{setting.upper()}" in error.message
    assert find(ada, KEY, OTHER) == []
    house.close()


@pytest.mark.parametrize(("setting", "limit"), [("max_run_cache_bytes", 1_000), ("max_stage_results", 2)])
def test_beyond_the_limits_what_was_used_longest_ago_goes(tmp_path: Path, setting: str, limit: int) -> None:
    house = House(tmp_path, **{setting: limit})
    ada = house.user("ada")
    ada.publish("ada/iris", {"a": b"a"})
    keys = [sha256(bytes([number])) for number in range(3)]
    for number, key in enumerate(keys):
        later(house, timedelta(hours=number * 3))
        fill(ada, (key, {}, {"out": bytes([number]) * 300}))
        if number == 1:
            later(house, timedelta(hours=5))
            assert len(find(ada, keys[0])) == 1
    assert {each["key"] for each in find(ada, *keys)} == {keys[0], keys[2]}
    house.close()


def test_a_key_has_few_variants(ada: Client, house: House) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    codes = [{"rows.py": sha256(bytes([number]))} for number in range(run_cache_wire.MAX_STAGE_VARIANTS + 2)]
    for number, code in enumerate(codes):
        later(house, timedelta(hours=number))
        fill(ada, (KEY, code, {"out": b"one"}))
    assert [each["code"] for each in find(ada, KEY)] == codes[:1:-1]


def test_an_answer_names_a_bounded_amount_of_code(ada: Client, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer may add very many long names of code; what was used last is found nevertheless."""
    ada.publish("ada/iris", {"a": b"a"})
    keys = [sha256(bytes([number])) for number in range(3)]
    for number, key in enumerate(keys):
        later(house, timedelta(hours=2 * number))
        fill(ada, (key, CODE, {"out": b"one"}))
    monkeypatch.setattr(run_cache, "MAX_FOUND_CODE", 2 * len(json.dumps(CODE)))
    assert [each["key"] for each in find(ada, *keys)] == [keys[2], keys[1]]


def test_code_counts_as_bytes_of_a_result(tmp_path: Path) -> None:
    house = House(tmp_path, max_stage_result_bytes=20_000)
    ada = house.user("ada")
    ada.publish("ada/iris", {"a": b"a"})
    code = {f"{number}.py": KEY for number in range(run_cache_wire.MAX_STAGE_CODE)}
    assert isinstance(fill(ada, (KEY, code, {"out": b"x"})).error, QuotaExceeded)
    house.close()
