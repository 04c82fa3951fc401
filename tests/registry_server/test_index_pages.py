"""The page of a project is written in pieces: after a change only what shows something new, with the same bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from sqlalchemy import delete, select

from datapkg.format import wire
from datapkg.format.simple_index import JSON_TYPE
from registry_server.db import tables
from registry_server.services import index_pages, python_index
from registry_server.services.index_pages import IndexPage, NewestPages
from registry_server.services.policy import ANONYMOUS
from tests.registry_server.asgi import Client, House

IRIS = f"{wire.PACKAGES}/ada/iris"
PAGE = "/simple/datapkg-ada-iris/"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_pages, "WHEELS_PER_PIECE", 3)


@pytest.fixture
def iris(ada: Client) -> str:
    """Publish five states, each with a version."""
    for number in range(5):
        hash = ada.publish("ada/iris", {"a": b"%d" % number}, version=f"1.{number}", public=True)
    return hash


def written(house: House, newest: NewestPages, *, as_json: bool) -> IndexPage:
    project = python_index.find_project(house.registry, ANONYMOUS, "datapkg-ada-iris")
    return python_index.project_page(project, newest, as_json=as_json)


def yank(ada: Client, version: str, reason: str | None) -> None:
    path = wire.YANK.format(user="ada", name="iris", version=version)
    assert (ada.delete(path) if reason is None else ada.put(path, {"reason": reason})).status == 200


@pytest.mark.parametrize("as_json", [True, False])
def test_page_after_changes_is_that_of_a_new_start(house: House, ada: Client, iris: str, as_json: bool) -> None:
    newest = NewestPages(2)
    before = written(house, newest, as_json=as_json)
    changes: list[Any] = [
        lambda: yank(ada, "1.1", "wrong <units>"),
        lambda: ada.publish("ada/iris", {"a": b"new"}),
        lambda: ada.put(f"{IRIS}/versions/2.0", {"hash": iris}),
        lambda: yank(ada, "1.1", None),
        lambda: ada.publish("ada/iris", {"a": b"newer"}, version="3.0"),
        lambda: ada.put(f"{IRIS}/tags/stable", {"hash": iris}),
    ]
    for change in changes:
        change()
        page = written(house, newest, as_json=as_json)
        fresh = written(house, NewestPages(1), as_json=as_json)
        assert (page.body, page.sha256, page.size) == (fresh.body, fresh.sha256, fresh.size)
        assert gzip.decompress(page.zipped) == page.body
        one_member = zlib.decompressobj(wbits=31)
        assert (one_member.decompress(page.zipped), one_member.unused_data) == (page.body, b"")
        assert page.zipped == fresh.zipped
    assert page.body != before.body


@pytest.mark.parametrize("as_json", [True, False])
def test_pieces_that_show_the_same_are_taken_from_the_page_before(
    house: House, ada: Client, iris: str, as_json: bool
) -> None:
    newest = NewestPages(1)
    before = written(house, newest, as_json=as_json)
    ada.publish("ada/iris", {"a": b"new"}, version="2.0")
    after = written(house, newest, as_json=as_json)
    taken = {id(rows) for _, rows in before.rows.values()} & {id(rows) for _, rows in after.rows.values()}
    assert (len(before.rows), len(after.rows), len(taken)) == (4, 4, 2)  # full ones: one of states, one of versions


def test_page_is_answered_in_pieces(house: House, ada: Client, iris: str) -> None:
    plain = house.nobody.get(PAGE, headers={"accept": JSON_TYPE})
    assert len(json.loads(plain.body)["files"]) == len(json.loads(plain.body)["versions"]) == 10
    zipped = house.nobody.get(PAGE, headers={"accept": JSON_TYPE, "accept-encoding": "gzip"})
    assert gzip.decompress(zipped.body) == plain.body
    known = {"accept": JSON_TYPE, "if-none-match": zipped.headers["etag"]}
    assert house.nobody.get(PAGE, headers=known).status == 304
    yank(ada, "1.0", "")
    changed = house.nobody.get(PAGE, headers=known)
    assert (changed.status, changed.json()["files"][5]["yanked"]) == (200, True)


def test_piece_with_a_wheel_that_cannot_be_built_is_written_again(
    house: House, ada: Client, iris: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = NewestPages(1)
    with house.registry.db.write() as connection:
        kept = connection.execute(select(tables.wheels).order_by(tables.wheels.c.version)).mappings().first()
        assert kept
        connection.execute(delete(tables.wheels).where(tables.wheels.c.version == kept["version"]))
    monkeypatch.setattr(python_index, "build_missing", lambda *_: None)
    lacking = written(house, newest, as_json=True)
    assert len(json.loads(lacking.body)["files"]) == 9
    monkeypatch.undo()
    ada.put(f"{IRIS}/tags/stable", {"hash": iris})
    whole = json.loads(written(house, newest, as_json=True).body)
    assert whole["versions"][0] == kept["version"]
    assert whole["files"][0]["hashes"] == {"sha256": kept["object"]}


def test_few_pages_are_kept() -> None:
    newest, pages = NewestPages(2), [index_pages.page_of([b"%d" % number]) for number in range(3)]
    newest.keep("a", "1", pages[0])
    newest.keep("b", "1", pages[1])
    assert newest.find("a", "1") is pages[0]
    newest.keep("c", "1", pages[2])
    assert [newest.find(name) for name in "abc"] == [pages[0], None, pages[2]]
    newest.keep("a", "2", pages[1])
    assert (newest.find("a", "1"), newest.find("a", "2"), newest.find("a")) == (None, pages[1], pages[1])
