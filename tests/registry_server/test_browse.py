"""Lists, searches, package info, resolving states, and the log."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from sqlalchemy import update

from datapkg.errors import InvalidInput, InvalidName, ObjectNotFound, PackageNotFound, TagNotFound, VersionNotFound
from datapkg.format import wire
from datapkg.format.manifest.parsed import Block, FileNode, Manifest, TableNode
from datapkg.objects.memory import MemoryObjects
from registry_server.db import states
from registry_server.db.packages import PackageLine
from registry_server.db.tables import search
from registry_server.services import browse
from registry_server.services.search_matches import Originals, explain
from registry_server.services.summaries import MAX_NODES_TEXT, search_texts
from registry_server.web.packages import SEARCHES_AT_ONCE
from tests.registry_server.asgi import Answer, Client, Contents, House, sha256
from tests.registry_server.test_checks import contents, parquet, stated

IRIS = f"{wire.PACKAGES}/ada/iris"


def names(client: Client, query: str = "") -> list[str]:
    return [each["package"] for each in client.get(f"{wire.PACKAGES}?{query}").json()["packages"]]


def test_list_contains_only_readable_packages(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/secret", {"a": b"1"})
    ada.publish("ada/open", {"a": b"1"}, public=True)
    ada.publish("ada/shared", {"a": b"1"})
    bob.publish("bob/own", {"a": b"1"})
    ada.put(f"{wire.PACKAGES}/ada/shared/access/bob", {})
    assert names(house.nobody) == ["ada/open"]
    assert names(ada) == ["ada/open", "ada/secret", "ada/shared"]
    assert names(bob) == ["ada/open", "ada/shared", "bob/own"]
    assert names(bob, "user=ada") == ["ada/open", "ada/shared"]
    assert names(house.nobody, "user=bob") == names(bob, "user=nobody") == names(bob, "user=%00") == []


def test_fields_of_a_list_entry(ada: Client) -> None:
    contents = Contents({"a": b"123", "b": b"12345"}, {"title": "Iris", "description": "Flowers"})
    ada.push("ada/iris", contents, public=True)
    (line,) = ada.get(wire.PACKAGES).json()["packages"]
    assert line.pop("pushed_at").endswith("+00:00")
    assert line == {
        "package": "ada/iris",
        "public": True,
        "latest": contents.manifest.hash,
        "title": "Iris",
        "description": "Flowers",
        "bytes_logical": 8,
        "matches": [],
    }


@pytest.mark.parametrize("meta", [{"title": 5, "description": ["x"]}, {"title": None}, {"title": "x" * 500}, {}])
def test_title_that_is_not_text_is_ignored(ada: Client, meta: dict[str, Any]) -> None:
    ada.push("ada/iris", Contents({"a": b"1"}, meta))
    (line,) = ada.get(wire.PACKAGES).json()["packages"]
    assert line["title"] in ("", "x" * 300)


@pytest.mark.parametrize("query", ["", "q=data"])
def test_list_is_paginated(ada: Client, query: str) -> None:
    expected = []
    for number in range(7):
        ada.push(f"ada/p{number}", Contents({"a": b"1"}, {"title": "data"}))
        expected.append(f"ada/p{number}")
    found, cursor = [], None
    while True:
        page = ada.get(f"{wire.PACKAGES}?limit=3&{query}" + (f"&cursor={cursor}" if cursor else "")).json()
        found += [each["package"] for each in page["packages"]]
        cursor = page["next"]
        if not cursor:
            break
    assert found == expected


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=bnVsbA==",
        "cursor=WzEsMl0=",
        "cursor=WzEwMDAwMDAwMDAwMDAwMDAwMDAwMCwiYSIsImIiXQ==",
        "cursor=" + "W1tb" * 100,
        "limit=0",
        "limit=201",
        "limit=x",
        "q=" + "x" * 201,
        "q=" + "+".join("abcdefghijk"),
    ],
)
def test_invalid_query_is_rejected(ada: Client, query: str) -> None:
    for path in (wire.PACKAGES, IRIS + "/log") if "q=" not in query else (wire.PACKAGES,):
        ada.publish("ada/iris", {"a": b"1"})
        answer = ada.get(f"{path}?{query}")
        assert answer.status == 400, path
        assert isinstance(answer.error, InvalidInput)


@pytest.fixture
def library(ada: Client) -> Client:
    """Publish some packages to find."""
    ada.push("ada/weather", Contents({"a": b"1"}, {"title": "Iris in the title"}))
    ada.push("ada/iris", Contents({"a": b"1"}))
    ada.push("ada/flowers", Contents({"raw/iris.jpg": b"1"}))
    ada.push("ada/botany", Contents({"README.md": "About IRIS, and Straße 100%_done".encode()}))
    ada.push("ada/aaa", Contents({"README.md": b"about iris too"}))
    ada.push("ada/stars", Contents({"a": b"1"}, {"description": "the night sky"}))
    return ada


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("iris", ["ada/iris", "ada/weather", "ada/flowers", "ada/aaa", "ada/botany"]),
        ("IRIS", ["ada/iris", "ada/weather", "ada/flowers", "ada/aaa", "ada/botany"]),
        ("iris too", ["ada/aaa"]),
        ("night sky", ["ada/stars"]),
        ("sky iris", []),
        ("strasse", ["ada/botany"]),
        ("100%25_", ["ada/botany"]),
        ("%25", ["ada/botany"]),
        ("ada/iris", ["ada/iris"]),
        ("'; drop table packages; --", []),
        ("%00", ["ada/aaa", "ada/botany", "ada/flowers", "ada/iris", "ada/stars", "ada/weather"]),
    ],
)
def test_search_ranks_matches(library: Client, query: str, expected: list[str]) -> None:
    assert names(library, "q=" + query.replace(" ", "+")) == expected


def test_search_finds_table_columns(ada: Client) -> None:
    table = pa.table({"petal_length": [1.4]})
    body = parquet(table)
    assert ada.push("ada/iris", contents([stated(table, body, path="measurements")], body)).status == 200
    assert names(ada, "q=petal") == ["ada/iris"]


def matches(client: Client, query: str) -> list[list[tuple[str, str, str, str]]]:
    """Return word, place, text and path of the matches of each package found."""
    found = client.get(f"{wire.PACKAGES}?q={quote(query)}").json()["packages"]
    fields = ("word", "where", "text", "path")
    return [[tuple(match[each] for each in fields) for match in package["matches"]] for package in found]


def test_search_reports_where_each_word_matched(ada: Client) -> None:
    table = pa.table({"id": [1], "Petal.Length": [1.4]})
    body = parquet(table)
    readme = (
        b"# Irises\n\n"
        + b"Nothing here. " * 20
        + "Measured in der Stra\u00dfe\nby Fisher (1936). ".encode()
        + b"x" * 200
    )
    nodes = [
        stated(table, body, path="Data/Measurements"),
        FileNode(path="README", hash=sha256(readme), size=len(readme)),
    ]
    meta = {"title": "Iris flowers", "description": "From the Gaspé", "keywords": ["Botany", "Setosa"]}
    assert ada.push("ada/iris", contents(nodes, body, readme, meta=meta)).status == 200
    assert matches(ada, "ADA/ flower gasp\u00c9 botany measure petal fisher") == [
        [
            ("ada/", "name", "ada/iris", ""),
            ("flower", "title", "Iris flowers", ""),
            ("gaspé", "description", "From the Gaspé", ""),
            ("botany", "keywords", "Botany", ""),
            ("measure", "node", "Data/Measurements", "Data/Measurements"),
            ("petal", "column", "Petal.Length", "Data/Measurements"),
            ("fisher", "readme", "…in der Straße by Fisher (1936).…", ""),
        ]
    ]
    assert matches(ada, "") == [[]]
    assert matches(ada, "iris") == [[("iris", "name", "ada/iris", "")]]


def test_package_indexed_by_an_older_version_reports_matches(house: House, ada: Client) -> None:
    ada.push("ada/iris", Contents({"Raw": b"1", "README.md": b"About Fisher"}, {"keywords": ["Botany"]}))
    with house.registry.db.write() as connection:
        connection.execute(update(search).values(originals=None))
    assert matches(ada, "botany raw fisher") == [
        [("botany", "keywords", "botany", ""), ("raw", "node", "raw", "raw"), ("fisher", "readme", "about fisher", "")]
    ]


def test_first_columns_of_a_very_wide_table_are_searchable() -> None:
    columns = [(f"sensor_{number:05}_temperature", "double") for number in range(8_000)]
    block = Block(hash=sha256(b"x"), rows=1, size=1)
    table = TableNode(path="t", columns=columns, content="c1:" + "0" * 64, blocks=[block], rows=1)
    texts = search_texts("ada/wide", Manifest.make([table]), MemoryObjects())
    assert texts["nodes"].startswith("t sensor_00000_temperature sensor_00001")
    assert MAX_NODES_TEXT - 100 < len(texts["nodes"]) <= MAX_NODES_TEXT


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("Iris", "iris", "Iris"),
        ("a\nb  c", "b", "a b c"),
        ("ß" * 100 + "Iris" + "b" * 100, "iris", "…" + "ß" * 25 + "Iris" + "b" * 51 + "…"),
        ("x" * 300, "x" * 150, "x" * 175 + "…"),
        ("İ" * 50 + "z" + "y" * 50, "z", "…" + "İ" * 25 + "z" + "y" * 50),
    ],
)
def test_match_is_shown_with_surrounding_text(text: str, word: str, expected: str) -> None:
    line = PackageLine("u", "p", True, "0" * 64, text, "", 0, datetime.now(UTC), ())
    (match,) = explain([word], line, Originals)
    assert (match.where, match.text) == ("title", expected)


def test_search_hides_private_packages(house: House, library: Client, bob: Client) -> None:
    assert names(house.nobody, "q=iris") == names(bob, "q=iris") == []


def test_search_covers_only_the_latest_state(ada: Client) -> None:
    first = Contents({"a": b"1"}, {"title": "before"})
    ada.push("ada/iris", first)
    ada.push("ada/iris", Contents({"a": b"1"}, {"title": "after"}))
    assert (names(ada, "q=before"), names(ada, "q=after")) == ([], ["ada/iris"])
    ada.put(f"{IRIS}/tags/latest", {"hash": first.manifest.hash})
    assert (names(ada, "q=before"), names(ada, "q=after")) == (["ada/iris"], [])
    assert ada.get(wire.PACKAGES).json()["packages"][0]["title"] == "before"


def test_package_info_reports_the_role_of_the_actor(house: House, ada: Client, bob: Client) -> None:
    hash = ada.publish("ada/iris", {"a": b"1"}, public=True, version="1.0", tag="stable")
    assert ada.get(IRIS).json()["role"] == "owner"
    assert bob.get(IRIS).json()["role"] == "public"
    ada.put(f"{IRIS}/access/bob", {})
    assert bob.get(IRIS).json()["role"] == "reader"
    info = house.nobody.get(IRIS).json()
    assert (info["role"], info["latest"]) == ("public", hash)
    assert info["tags"] == {"latest": hash, "stable": hash}
    assert [each["version"] for each in info["versions"]] == ["1.0"]


def test_deleted_package_can_be_created_again(house: House, ada: Client, bob: Client) -> None:
    first = ada.publish("ada/iris", {"a": b"one"}, public=True, tag="old", version="1.0")
    ada.put(f"{IRIS}/access/bob", {})
    assert ada.delete(IRIS).json() == {"deleted": "ada/iris"}
    for client in (house.nobody, ada, bob):
        assert isinstance(client.get(IRIS).error, PackageNotFound)
        assert client.get(f"{IRIS}/objects/{sha256(b'one')}").status == 404
    assert ada.delete(IRIS).status == 404
    assert names(ada) == []
    second = ada.publish("ada/iris", {"a": b"two"}, version="2.0")
    assert (house.nobody.get(IRIS).status, bob.get(IRIS).status) == (404, 404)
    assert ada.get(f"{IRIS}/tags").json()["tags"] == {"latest": second}
    assert ada.get(f"{IRIS}/manifests/{first}").status == 404
    assert ada.get(f"{IRIS}/objects/{sha256(b'one')}").status == 404
    assert len(ada.get(f"{IRIS}/log").json()["entries"]) == 1


def test_log_lists_pushes_newest_first(ada: Client) -> None:
    first = ada.publish("ada/iris", {"a": b"1"}, message="begin", version="1.0")
    second = ada.publish("ada/iris", {"a": b"22"}, message="<b>go on</b>", tag="stable")
    newest, oldest = ada.get(f"{IRIS}/log").json()["entries"]
    assert newest.pop("pushed_at") >= oldest.pop("pushed_at")
    assert newest.pop("wheel") != oldest.pop("wheel")
    assert (newest.pop("number"), oldest.pop("number")) == (2, 1)
    assert newest == {
        "hash": second,
        "author": "ada",
        "message": "<b>go on</b>",
        "parent": first,
        "parents": [first],
        "tags": ["latest", "stable"],
        "versions": [],
        "bytes_logical": 2,
    }
    assert (oldest["hash"], oldest["parent"], oldest["versions"]) == (first, None, ["1.0"])


def test_readers_see_only_the_checks_of_a_record(house: House, ada: Client) -> None:
    checks = [{"path": "a", "check": "c", "outcome": "ok", "rows": 3, "rule": 0}]
    record = {"checks": checks, "rules": ["{min: 0}"], "git": {"commit": "c0ffee"}}
    first = ada.publish("ada/iris", {"a": b"1"}, record=record, public=True)
    second = ada.publish("ada/iris", {"a": b"2"}, record={"checks": 5, "rules": [7]})
    assert house.nobody.get(f"{IRIS}/checks/{first}").json() == {"checks": checks, "rules": ["{min: 0}"]}
    assert ada.get(f"{IRIS}/checks/{second}").json() == {"checks": [], "rules": [""]}
    assert isinstance(ada.get(f"{IRIS}/checks/{'0' * 64}").error, ObjectNotFound)
    ada.publish("ada/iris", {"a": b"2"}, record={"checks": checks, "rules": ["{max: 1}"]})
    assert ada.get(f"{IRIS}/checks/{second}").json()["rules"] == ["{max: 1}"]
    assert len(ada.get(f"{IRIS}/log").json()["entries"]) == 2


def test_log_is_paginated(ada: Client) -> None:
    pushed = [ada.publish("ada/iris", {"a": b"%d" % number}) for number in range(5)]
    page = ada.get(f"{IRIS}/log?limit=2").json()
    found = [entry["hash"] for entry in page["entries"]]
    while page["next"]:
        page = ada.get(f"{IRIS}/log?limit=2&cursor={page['next']}").json()
        found += [entry["hash"] for entry in page["entries"]]
    assert found == pushed[::-1]


@pytest.fixture
def versions(ada: Client) -> dict[str, str]:
    """Publish states of ada/iris and return them by version."""
    return {
        version: ada.publish("ada/iris", {"a": version.encode()}, version=version, tag="t" + version.replace(".", ""))
        for version in ("1.0", "1.10.0", "1.2", "2.0rc1", "1.2.post1")
    }


@pytest.mark.parametrize(
    ("state", "version"),
    [
        ("1.0", "1.0"),
        ("1.0.0", "1.0"),
        ("01.0", "1.0"),
        ("1.10", "1.10.0"),
        ("2.0rc1", "2.0rc1"),
        ("2.0-RC.1", "2.0rc1"),
        (">=1", "1.10.0"),
        (">=1,<1.10", "1.2.post1"),
        ("~=1.2", "1.10.0"),
        ("==1.2", "1.2"),
        ("==1.2.*", "1.2.post1"),
        (">=2.0rc0", "2.0rc1"),
        ("!=1.10.0", "1.2.post1"),
    ],
)
def test_version_or_range_resolves_to_a_state(ada: Client, versions: dict[str, str], state: str, version: str) -> None:
    found = ada.get(f"{IRIS}/resolve?state={quote(state)}").json()
    assert (found["version"], found["hash"]) == (version, versions[version])
    assert found["tag"] is None
    assert found["versions"] == versions


def test_tag_or_default_resolves_to_a_state(ada: Client, versions: dict[str, str]) -> None:
    last = versions["1.2.post1"]
    for query, tag in (("", "latest"), ("?state=", "latest"), ("?state=latest", "latest"), ("?state=t12", "t12")):
        found = ada.get(f"{IRIS}/resolve{query}").json()
        assert (found["tag"], found["version"]) == (tag, None)
        assert found["hash"] == (versions["1.2"] if tag == "t12" else last)
    found = ada.get(f"{IRIS}/resolve").json()
    contents = Contents({"a": b"1.2.post1"})
    assert found["manifest_size"] == len(contents.manifest.data)
    assert found["bytes_logical"] == len(b"1.2.post1")


def test_hash_or_its_prefix_resolves_to_a_state(ada: Client, versions: dict[str, str]) -> None:
    hash = versions["1.0"]
    for text in (hash, hash[:6], hash.upper()):
        found = ada.get(f"{IRIS}/resolve?state=sha256:{text}").json()
        assert (found["hash"], found["tag"], found["version"]) == (hash, None, None)


def test_ambiguous_hash_prefix_lists_candidates(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = ["abcdef" + "0" * 58, "abcdef" + "1" * 58]
    ada.publish("ada/iris", {"a": b"1"})
    monkeypatch.setattr(states, "beginning_with", lambda *_: candidates)
    answer = ada.get(f"{IRIS}/resolve?state=sha256:abcdef")
    assert answer.status == 400
    assert answer.error.detail["candidates"] == candidates
    assert all(candidate in answer.error.message for candidate in candidates)


@pytest.mark.parametrize(
    ("state", "status", "error"),
    [
        ("9.9", 404, VersionNotFound),
        (">=9", 404, VersionNotFound),
        (">=2", 404, VersionNotFound),
        ("nosuch", 404, TagNotFound),
        ("sha256:000000", 404, ObjectNotFound),
        ("sha256:00000", 400, InvalidName),
        ("sha256:xyzxyz", 400, InvalidName),
        ("1.0+local", 400, InvalidName),
        (">=x", 400, InvalidName),
        ("Ünicode", 400, InvalidName),
        ("$", 400, InvalidName),
        ("x" * 301, 400, InvalidInput),
        ("1" * 300, 400, InvalidName),
    ],
)
def test_unknown_or_invalid_state_is_an_error(
    ada: Client, versions: dict[str, str], state: str, status: int, error: type[Exception]
) -> None:
    answer = ada.get(f"{IRIS}/resolve?state={quote(state)}")
    assert answer.status == status
    assert isinstance(answer.error, error)


def test_slow_searches_leave_threads_for_other_requests(
    ada: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search reads the texts of all packages; as many as there are threads would block everything."""
    ada.publish("ada/iris", {"a": b"1"}, public=True)
    ada.publish("ada/hidden", {"a": b"1"})
    done, real = threading.Event(), browse.find_packages
    running: list[str] = []

    def find_slowly(*arguments: Any, query: str, **options: Any) -> Any:
        running.append(query)
        done.wait(20)
        return real(*arguments, query=query, **options)

    monkeypatch.setattr(browse, "find_packages", find_slowly)

    async def asked() -> list[Answer]:
        users = [ada, bob] * 30
        searches = [
            asyncio.ensure_future(
                each._run("GET", f"{wire.PACKAGES}?q=ada", [], {"authorization": f"Bearer {each.token}"}, 0)
            )
            for each in users
        ]
        pages = [asyncio.ensure_future(ada._run("GET", f"/?q={word}", [], {}, 0)) for word in "abcd"]
        try:
            while len(running) < SEARCHES_AT_ONCE:
                await asyncio.sleep(0.01)
            other = ada._run("GET", f"{wire.PACKAGES}/ada/iris", [], {"authorization": f"Bearer {ada.token}"}, 0)
            assert (await asyncio.wait_for(other, 20)).status == 200
            assert len(running) == SEARCHES_AT_ONCE
        finally:
            done.set()
        assert {(await each).status for each in pages} == {200}
        return [await each for each in searches]

    found = asyncio.run(asked())
    packages = [[each["package"] for each in answer.json()["packages"]] for answer in found]
    assert packages == [["ada/hidden", "ada/iris"], ["ada/iris"]] * 30
