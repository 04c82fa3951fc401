"""Behaviours 69 to 96 of Quilt 2: pushing, sharing, naming and finding packages at a registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from datapkg.format import wire
from tests.conftest import Person
from tests.journeys.conftest import Files, Machine, Publish, at, write

TABLE = "a,b\n1,x\n2,y\n"
HASH = "0" * 64


@pytest.fixture
def ada(new_person: Callable[[], Person]) -> Person:
    """Create the owner of the packages."""
    return new_person()


@pytest.fixture
def bob(new_person: Callable[[], Person]) -> Person:
    """Create another user."""
    return new_person()


def http(person: Person | None, url: str, method: str, path: str, **options: Any) -> requests.Response:
    """Send one request to the API, with a person's token or without one."""
    headers = {"Authorization": f"Bearer {person.token}"} if person else {}
    return requests.request(method, f"{url}{wire.PACKAGES}{path}", headers=headers, timeout=30, **options)


def status(asker: Person | None, ada: Person, method: str, path: str, **options: Any) -> int:
    """Return the status of a request about Ada's packages."""
    return http(asker, ada.url, method, f"/{ada.name}/{path}", **options).status_code


def can_install(who: Person, package: str, machine: str = "other") -> bool:
    ended = at(who, machine).run("install", package, "--json")
    assert ended.code in (0, 3), ended.err
    return ended.code == 0


def test_069_existing_objects_are_not_sent_again(ada: Person, publish: Publish) -> None:
    hash = publish(ada, "p", {"a.csv": TABLE, "b.txt": "b"})
    again = at(ada).ask("push", f"{ada.name}/p")
    assert (again["hash"], again["objects_sent"], again["changed"]) == (hash, 0, False)
    publish(ada, "p", {"a.csv": TABLE, "b.txt": "B"})
    back = at(ada).ask("push", f"{ada.name}/p@sha256:{hash}")
    assert (back["hash"], back["objects_sent"], back["changed"]) == (hash, 0, True)
    assert at(ada, "other").ask("install", f"{ada.name}/p")["installed"][0]["hash"] == hash


def test_069_only_new_objects_are_sent(ada: Person, publish: Publish, tmp_path: Any) -> None:
    files: Files = {f"{number}.txt": f"{number} of {ada.name}" for number in range(20)}
    publish(ada, "p", files)
    at(ada).ask("build", f"{ada.name}/p", str(write(tmp_path / "new", {**files, "7.txt": f"new of {ada.name}"})))
    assert at(ada).ask("push", f"{ada.name}/p")["objects_sent"] == 2  # the file and the manifest
    at(ada).ask("build", f"{ada.name}/q", str(tmp_path / "new"))
    assert at(ada).ask("push", f"{ada.name}/q")["objects_sent"] == 0


@pytest.mark.parametrize("path", ["b", "b/c"])
def test_070_083_push_of_part_of_a_package_is_rejected(ada: Person, publish: Publish, path: str) -> None:
    publish(ada, "p", {"b/c.csv": TABLE})
    error = at(ada).fail("push", f"{ada.name}/p/{path}")
    assert error["code"] == "invalid"
    assert error["hint"] == f"datapkg push {ada.name}/p"


def test_071_pushed_package_is_visible_only_to_its_owner(ada: Person, bob: Person, publish: Publish) -> None:
    hash = publish(ada, "p", {"a.csv": TABLE})
    assert http(ada, ada.url, "GET", f"/{ada.name}/p").json()["latest"] == hash
    assert status(ada, ada, "GET", f"p/manifests/{hash}") == 200
    assert [each["package"] for each in at(ada).ask("search")["packages"] if each["package"].startswith(ada.name)] == [
        f"{ada.name}/p"
    ]
    for other in (bob, None):
        for path in ("p", "p/resolve", f"p/manifests/{hash}", "p/log", "p/tags", "p/versions", f"p/objects/{hash}"):
            assert status(other, ada, "GET", path) == 404


def test_072_new_metadata_is_a_new_state(ada: Person, publish: Publish) -> None:
    text = "meta: {title: %s}\ncontents: {a: {file: a.csv}}"
    publish(ada, "p", {"build.yml": text % "Old", "a.csv": TABLE})
    publish(ada, "p", {"build.yml": text % "New", "a.csv": TABLE})
    (found,) = at(ada).ask("search", ada.name)["packages"]
    assert found["title"] == "New"
    assert at(ada, "other").ask("install", f"{ada.name}/p")
    assert at(ada, "other").ask("show", f"{ada.name}/p")["meta"] == {"title": "New"}


def test_073_unauthorised_pushes(ada: Person, bob: Person, publish: Publish, tmp_path: Any) -> None:
    publish(ada, "p", {"a.csv": TABLE}, "--public")
    thief = at(bob)
    for name in ("p", "absent"):
        thief.ask("build", f"{ada.name}/{name}", str(write(tmp_path / "theirs", {"a.txt": "evil"})))
        ended = thief.run("push", f"{ada.name}/{name}", "--json")
        assert (ended.code, ended.error["detail"]["type"]) == (7, "Forbidden")
        for token in ("", "dpk_wrong"):
            nobody = Machine({**thief.environ, "DATAPKG_TOKEN": token}, thief.folder)
            ended = nobody.run("push", f"{ada.name}/{name}", "--json")
            assert (ended.code, ended.error["detail"]["type"]) == (7, "NotLoggedIn")
    assert can_install(bob, f"{ada.name}/p", "clean")
    assert at(bob, "clean").ask("show", f"{ada.name}/p")["nodes"][0]["path"] == "a"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"manifest": "abc", "hashes": []}',
        b'{"manifest": 3, "hashes": []}',
        b'{"manifest": "%s", "hashes": ["../x"]}' % HASH.encode(),
        b'{"manifest": "%s", "hashes": [], "more": 1}' % HASH.encode(),
    ],
)
def test_073_invalid_request_is_400(ada: Person, body: bytes) -> None:
    assert status(ada, ada, "POST", "p/pushes", data=body, json=None) == 400


@pytest.mark.parametrize("name", ["P", "a-b", "a__b", "class", "x" * 65, "1a"])
def test_073_invalid_name_is_400(ada: Person, name: str) -> None:
    assert status(ada, ada, "POST", f"{name}/pushes", json={"manifest": HASH, "hashes": []}) == 400


def test_074_names_are_case_sensitive(ada: Person, publish: Publish) -> None:
    publish(ada, "p", {"a.csv": TABLE}, "--public")
    for path in (f"/{ada.name.upper()}/p", f"/{ada.name}/P"):
        assert http(ada, ada.url, "GET", path).status_code == 404
    shouted = http(ada, ada.url, "POST", f"/{ada.name.upper()}/p/pushes", json={"manifest": HASH, "hashes": []})
    assert shouted.status_code == 403


def test_075_private_by_default_and_public_when_confirmed(ada: Person, bob: Person, publish: Publish) -> None:
    publish(ada, "p", {"a.csv": TABLE})
    assert not can_install(bob, f"{ada.name}/p")
    error = at(ada).fail("push", f"{ada.name}/p", "--public")
    assert "earlier pushes" in error["message"]
    assert "--yes" in error["hint"]
    assert not can_install(bob, f"{ada.name}/p")
    assert at(ada).ask("push", f"{ada.name}/p", "--public", "--yes")["public"]
    assert can_install(bob, f"{ada.name}/p")


def test_077_dry_run_reports_what_would_be_sent_and_changes_nothing(
    ada: Person, bob: Person, publish: Publish, tmp_path: Any
) -> None:
    machine, package = at(ada), f"{ada.name}/p"
    source = write(tmp_path / "source", {"a.txt": f"a of {ada.name}", "b.txt": f"b of {ada.name}"})
    machine.ask("build", package, str(source))
    report = machine.ask("push", package, "--dry-run")
    assert (report["objects_sent"], report["dry_run"]) == (3, True)
    assert status(ada, ada, "GET", "p") == 404
    assert machine.ask("push", package)["objects_sent"] == 3
    machine.ask("build", f"{bob.name}/p", str(source))
    assert machine.fail("push", f"{bob.name}/p", "--dry-run")["code"] == "refused"


def test_084_access_is_granted_and_revoked(ada: Person, bob: Person, publish: Publish) -> None:
    hash, package, machine = publish(ada, "p", {"a.csv": TABLE}), f"{ada.name}/p", at(ada)
    machine.ask("access", "add", package, bob.name)
    assert can_install(bob, package)
    at(bob).ask("build", package, str(write(at(bob).folder, {"x.txt": "x"})))
    assert at(bob).fail("push", package)["code"] == "refused"
    machine.ask("access", "rm", package, bob.name)
    assert not can_install(bob, package, "third")
    assert status(bob, ada, "GET", f"p/manifests/{hash}") == 404


def test_084_owner_keeps_access_and_others_cannot_grant_it(ada: Person, bob: Person, publish: Publish) -> None:
    package = f"{ada.name}/p"
    publish(ada, "p", {"a.csv": TABLE})
    at(ada).run("access", "rm", package, ada.name)
    assert can_install(ada, package)
    assert at(ada).fail("access", "add", package, "No-User")["code"] == "invalid"
    assert at(bob).fail("access", "add", package, bob.name)["code"] == "refused"


def test_085_readers_see_the_access_list(ada: Person, bob: Person, publish: Publish) -> None:
    publish(ada, "p", {"a.csv": TABLE})
    at(ada).ask("access", "add", f"{ada.name}/p", bob.name)
    seen = at(bob).ask("access", "ls", f"{ada.name}/p")
    assert (seen["owner"], seen["readers"], seen["public"]) == (ada.name, [bob.name], False)
    assert status(None, ada, "GET", "p/access") == 404


def names(asker: Person | None, ada: Person) -> list[str]:
    """Return the names of Ada's packages that a person sees."""
    answer = http(asker, ada.url, "GET", "", params={"user": ada.name})
    return [each["package"].removeprefix(f"{ada.name}/") for each in answer.json()["packages"]]


def test_086_087_users_see_only_permitted_packages(ada: Person, bob: Person, publish: Publish) -> None:
    publish(ada, "secret", {"a.csv": TABLE})
    publish(ada, "shared", {"a.csv": TABLE})
    publish(ada, "open", {"a.csv": TABLE}, "--public")
    at(ada).ask("access", "add", f"{ada.name}/shared", bob.name)
    assert names(ada, ada) == ["open", "secret", "shared"]
    assert names(bob, ada) == ["open", "shared"]
    assert names(None, ada) == ["open"]


def test_087_pages_hide_private_packages(ada: Person, publish: Publish) -> None:
    publish(ada, "secret", {"a.csv": TABLE})
    publish(ada, "open", {"a.csv": TABLE}, "--public")
    listed = requests.get(f"{ada.url}/", params={"q": ada.name}, timeout=30).text
    assert f"{ada.name}/open" in listed
    assert "secret" not in listed
    assert requests.get(f"{ada.url}/{ada.name}/secret", timeout=30).status_code == 404


def test_087_last_pushed_package_is_listed_first(ada: Person, publish: Publish) -> None:
    for name in ("older", "newer"):
        publish(ada, name, {"a.csv": TABLE}, "--public")
    listed = requests.get(f"{ada.url}/", timeout=30).text
    assert 0 < listed.index(f"{ada.name}/newer") < listed.index(f"{ada.name}/older")


def test_079_package_page(ada: Person, publish: Publish) -> None:
    readme = "# About flowers\n<script>alert(1)</script>\n[x](javascript:alert(2))\n"
    contents = "meta: {title: Flowers <b>}\ncontents: {README: {file: R.md}, t: {file: a.csv}, raw: {z: {file: a.csv}}}"
    hash = publish(ada, "p", {"build.yml": contents, "R.md": readme, "a.csv": TABLE}, "--public")
    answer = requests.get(f"{ada.url}/{ada.name}/p", timeout=30)
    assert answer.status_code == 200
    for text in ("About flowers", "Flowers &lt;b&gt;", f"datapkg install {ada.name}/p", "raw", hash[:12]):
        assert text in answer.text
    assert f"from datapkg.data.{ada.name} import p" in answer.text
    assert "alert(1)</script>" not in answer.text
    assert 'href="javascript' not in answer.text


def test_088_objects_are_served_only_through_a_package_that_has_them(
    ada: Person, bob: Person, publish: Publish
) -> None:
    publish(ada, "secret", {"a.txt": "secret of Ada"})
    publish(bob, "own", {"b.txt": "Bob's"})
    hash = at(ada).home.store.manifest(at(ada).ask("show", f"{ada.name}/secret")["hash"]).nodes[0].hash  # type: ignore[union-attr]
    assert status(ada, ada, "GET", f"secret/objects/{hash}") == 200
    assert http(bob, ada.url, "GET", f"/{bob.name}/own/objects/{hash}").status_code == 404
    assert http(bob, ada.url, "POST", f"/{bob.name}/own/objects/read", json={"hashes": [hash]}).status_code == 404
    assert status(bob, ada, "GET", f"secret/objects/{hash}") == 404


def tags_of(machine: Machine, package: str) -> dict[str, str]:
    return {each["name"]: each["hash"] for each in machine.ask("tag", "ls", package)["tags"]}


def test_089_tags(ada: Person, bob: Person, publish: Publish) -> None:
    package, machine = f"{ada.name}/p", at(ada)
    one, two = (publish(ada, "p", {"a.txt": text}, *more) for text, more in (("1", ("--public",)), ("2", ())))
    for tag in ("stable", "beta"):
        machine.ask("tag", "add", f"{package}@sha256:{one}", tag)
    assert tags_of(machine, package) == {"beta": one, "latest": two, "stable": one}
    machine.ask("tag", "add", package, "stable")
    assert tags_of(machine, package)["stable"] == two
    machine.ask("tag", "rm", package, "beta")
    assert "beta" not in tags_of(machine, package)
    assert machine.fail("tag", "add", f"{package}@sha256:{HASH}", "x")["code"] == "not_found"
    assert machine.fail("tag", "rm", package, "beta")["code"] == "not_found"
    assert tags_of(at(bob), package)["stable"] == two
    assert at(bob).fail("tag", "add", package, "stable")["code"] == "refused"


def test_090_versions(ada: Person, bob: Person, publish: Publish) -> None:
    package, machine = f"{ada.name}/p", at(ada)
    one, two = (publish(ada, "p", {"a.txt": text}, *more) for text, more in (("1", ("--public",)), ("2", ())))
    for version in ("1.10", "1.9", "01.2rc1", "1.2"):
        machine.ask("version", "add", f"{package}@sha256:{one}", version)
    listed = [each["name"] for each in machine.ask("version", "ls", package)["versions"]]
    assert listed == ["1.2rc1", "1.2", "1.9", "1.10"]
    assert machine.fail("version", "add", package, "1.2.0")["code"] == "conflict"
    assert machine.fail("version", "add", package, "one")["code"] == "invalid"
    assert status(ada, ada, "PUT", "p/versions/one", json={"hash": two}) == 400
    assert status(ada, ada, "DELETE", "p/versions/1.2") == 405
    assert at(bob).fail("version", "add", package, "2.0")["code"] == "refused"
    assert at(bob).ask("install", f"{package}@1.2.0")["installed"][0]["hash"] == one


def test_091_deleted_and_created_again(ada: Person, bob: Person, publish: Publish) -> None:
    package, machine = f"{ada.name}/p", at(ada)
    publish(ada, "p", {"a.txt": "1"}, "--version", "1.0", "--public")
    assert can_install(bob, package)
    assert at(bob).fail("delete", package, "--yes")["code"] == "refused"
    assert status(None, ada, "DELETE", "p") == 401
    assert machine.fail("delete", package)["code"] == "invalid"
    machine.ask("delete", package, "--yes")
    assert status(ada, ada, "GET", "p") == 404
    assert at(bob, "other").ask("show", package)["package"] == package
    publish(ada, "p", {"a.txt": "2"})
    assert machine.ask("version", "ls", package)["versions"] == []
    assert len(machine.ask("log", package, "--remote")["log"]) == 1
    assert status(bob, ada, "GET", "p") == 404


def test_092_log_of_pushes(ada: Person, bob: Person, publish: Publish) -> None:
    package = f"{ada.name}/p"
    one = publish(ada, "p", {"a.txt": "1"}, "-m", "first", "--version", "1.0", "--public")
    two = publish(ada, "p", {"a.txt": "2"}, "-m", "second", "--tag", "stable")
    log = at(bob).ask("log", package)["log"]
    assert [(each["hash"], each["message"], each["author"]) for each in log] == [
        (two, "second", ada.name),
        (one, "first", ada.name),
    ]
    assert [each["name"] for each in log[0]["tags"]] == ["latest", "stable"]
    assert [(each["name"], each["hash"]) for each in log[1]["versions"]] == [("1.0", one)]
    at(ada).ask("access", "rm", package, "public")
    assert at(bob, "other").fail("log", package)["code"] == "not_found"


def test_093_search_matches_every_word_and_lists_the_best_first(ada: Person, bob: Person, publish: Publish) -> None:
    word = f"zebra{ada.name}"
    text = "meta: {title: %s}\ncontents: {%s: {file: a.txt}, README: {file: R.md}}"

    def package(name: str, title: str, node: str, readme: str, *more: str) -> None:
        publish(ada, name, {"build.yml": text % (title, node), "a.txt": name, "R.md": readme}, *more)

    package("readme", "x", "y", f"all about {word}", "--public")
    package("node", "x", word, "z", "--public")
    package(word, "x", "y", "z", "--public")
    package("b_title", f"Big {word.upper()}", "y", "z", "--public")
    package("a_title", f"big {word}", "y", "z", "--public")
    package("secret", word, "y", "z")

    def found(person: Person, *words: str) -> list[str]:
        return [each["package"].partition("/")[2] for each in at(person).ask("search", *words)["packages"]]

    assert found(bob, word) == [word, "a_title", "b_title", "node", "readme"]
    assert found(bob, word.upper()) == found(bob, word)
    assert found(bob, "BIG", word) == ["a_title", "b_title"]
    assert found(bob, word, "nowhere") == []
    assert "secret" in found(ada, word)


@pytest.mark.parametrize("path", ["/api/v1/packages", "/api/v1/packages/no/such", "/api/v1/nothing"])
def test_096_no_cross_origin_reads_without_a_public_url(ada: Person, path: str) -> None:
    answer = requests.get(ada.url + path, headers={"Origin": "https://elsewhere.example"}, timeout=30)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_096_no_cross_origin_headers_on_pages(ada: Person) -> None:
    answer = requests.get(ada.url + "/", headers={"Origin": "https://elsewhere.example"}, timeout=30)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_concurrent_push_is_not_lost(ada: Person, publish: Publish, tmp_path: Any) -> None:
    package, other = f"{ada.name}/p", at(ada, "other")
    publish(ada, "p", {"a.txt": "1"})
    other.ask("install", package)
    two = publish(ada, "p", {"a.txt": "2"})
    mine = other.ask("build", package, str(write(tmp_path / "mine", {"a.txt": "mine"})))["hash"]
    ended = other.run("push", package, "--json")
    assert (ended.code, ended.error["code"]) == (4, "conflict")
    assert two in ended.err
    assert other.ask("push", package, "--force")["hash"] == mine
    assert [each["hash"] for each in at(ada).ask("log", package, "--remote")["log"]][:2] == [mine, two]
