"""The Python package index of a registry: pages in two forms, files, and nothing about what one may not see."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import delete

from datapkg.format import wire
from datapkg.format.simple_index import HTML_TYPE, JSON_TYPE
from registry_server.db import tables
from registry_server.services.index_pages import NewestPages
from registry_server.web.simple import wanted_type
from tests.registry_server.asgi import Answer, Client, House, sha256

IRIS = "/simple/datapkg-ada-iris/"
AS_JSON = {"accept": JSON_TYPE}


class Links(HTMLParser):
    """The links of a page, by their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self._last: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._last = dict(attrs) if tag == "a" else {}

    def handle_data(self, data: str) -> None:
        if self._last:
            self.found[data] = self._last
            self._last = {}


def basic(password: str, user: str = "__token__") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def page(client: Client, path: str = IRIS, **headers: str) -> Any:
    answer = client.get(path, headers={**AS_JSON, **headers})
    assert (answer.status, answer.headers["content-type"]) == (200, JSON_TYPE)
    return answer.json()


@pytest.fixture
def iris(ada: Client) -> str:
    """Publish a public state with two versions, one of them yanked."""
    hash = ada.publish("ada/iris", {"a": b"one"}, version="1.2.0", public=True)
    assert ada.put(f"{wire.PACKAGES}/ada/iris/versions/1.3.0", {"hash": hash}).status == 200
    yank = wire.YANK.format(user="ada", name="iris", version="1.3.0")
    assert ada.put(yank, {"reason": 'wrong "units" <here>'}).status == 200
    return hash


def test_pages_say_the_same_in_both_forms(house: House, iris: str) -> None:
    found = page(house.nobody)
    end = f"+h{iris[:16]}"
    assert (found["name"], found["meta"]) == ("datapkg-ada-iris", {"api-version": "1.1"})
    assert found["versions"] == [f"0.dev1{end}", f"1.2.0{end}", f"1.3.0{end}"]
    links = Links(house.nobody.get(IRIS).text).found
    assert list(links) == [each["filename"] for each in found["files"]]
    for each in found["files"]:
        assert re.fullmatch(r"datapkg_ada_iris-[0-9a-z.]+\+h[0-9a-f]{16}-py3-none-any\.whl", each["filename"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", each["upload-time"])
        link = links[each["filename"]]
        assert link["href"] == f"{each['url']}#sha256={each['hashes']['sha256']}"
        assert link["data-requires-python"] == each["requires-python"] == ">=3.11"
        metadata = each["core-metadata"]["sha256"]
        assert link["data-core-metadata"] == link["data-dist-info-metadata"] == f"sha256={metadata}"
        assert each["dist-info-metadata"] == each["core-metadata"]
        wheel = house.nobody.get(IRIS + each["url"])
        assert (sha256(wheel.body), len(wheel.body)) == (each["hashes"]["sha256"], each["size"])
        assert "immutable" in wheel.headers["cache-control"]
        kept = house.nobody.get(IRIS + each["url"], headers={"if-none-match": wheel.headers["etag"]})
        assert (kept.status, kept.body) == (304, b"")
        assert sha256(house.nobody.get(f"{IRIS}{each['url']}.metadata").body) == metadata
    yanked = [each["yanked"] for each in found["files"]]
    assert yanked == [False, False, 'wrong "units" <here>']
    assert [link.get("data-yanked") for link in links.values()] == [None, None, 'wrong "units" <here>']


def test_state_is_yanked_with_all_of_its_versions(ada: Client, iris: str) -> None:
    yank = wire.YANK.format(user="ada", name="iris", version="1.2.0")
    assert ada.put(yank, {"reason": ""}).status == 200
    assert [each["yanked"] for each in page(ada)["files"]] == [True, True, 'wrong "units" <here>']
    assert ada.put(yank, {"reason": "a\nb\x1b[31m\u202e"}).status == 200
    assert page(ada)["files"][1]["yanked"] == "a b⟨U+001B⟩[31m⟨U+202E⟩"
    assert 'data-yanked="a b⟨U+001B⟩[31m⟨U+202E⟩"' in ada.get(IRIS).text


def test_page_is_kept_until_the_package_changes(house: House, ada: Client, iris: str) -> None:
    first = house.nobody.get(IRIS, headers=AS_JSON)
    again = {**AS_JSON, "if-none-match": first.headers["etag"]}
    assert house.nobody.get(IRIS, headers=again).status == 304
    assert house.nobody.get(IRIS, headers=again | {"accept-encoding": "gzip"}).status == 304
    head = house.nobody.request("HEAD", IRIS, headers=AS_JSON)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(first.body)))
    ada.publish("ada/iris", {"a": b"two"})
    changed = house.nobody.get(IRIS, headers=again)
    assert (changed.status, len(changed.json()["files"])) == (200, 4)


def test_long_page_is_compressed(house: House, ada: Client, iris: str) -> None:
    for number in range(6):
        assert ada.put(f"{wire.PACKAGES}/ada/iris/versions/2.{number}", {"hash": iris}).status == 200
    plain = house.nobody.get(IRIS)
    zipped = house.nobody.get(IRIS, headers={"accept-encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert "Accept-Encoding" in zipped.headers["vary"]


def test_projects_are_those_that_one_may_read(house: House, ada: Client, bob: Client, iris: str) -> None:
    ada.publish("ada/secret_data", {"a": b"s"})
    assert page(house.nobody, "/simple/")["projects"] == [{"name": "datapkg-ada-iris"}]
    mine = ["datapkg-ada-iris", "datapkg-ada-secret-data"]
    assert [each["name"] for each in page(ada, "/simple/")["projects"]] == mine
    assert list(Links(ada.get("/simple/").text).found) == mine
    assert [each["name"] for each in page(bob, "/simple/")["projects"]] == mine[:1]
    assert page(house.nobody, "/simple/", **basic(str(ada.token)))["projects"] == [{"name": each} for each in mine]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/simple", "/simple/"),
        ("/simple/datapkg-ada-iris", IRIS),
        ("/simple/Datapkg_ada.IRIS/", IRIS),
        ("/simple/datapkg__ada-._iris", IRIS),
        ("/simple/no_such", "/simple/no-such/"),
    ],
)
def test_other_spellings_are_redirected(house: House, iris: str, path: str, target: str) -> None:
    answer = house.nobody.get(path)
    assert (answer.status, answer.headers["location"]) == (301, target)


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, answer.headers, answer.body


def test_what_one_may_not_see_is_what_does_not_exist(house: House, ada: Client, bob: Client, iris: str) -> None:
    project, end = "/simple/datapkg-ada-secret/", "-py3-none-any.whl"
    hash = ada.start("ada/secret", _manifest())["push"] and _manifest().hash
    file_name = f"datapkg_ada_secret-0.dev1%2Bh{hash[:16]}{end}"
    paths = [project, project + file_name, f"{project}{file_name}.metadata", "/simple/", "/simple/datapkg-ada-secret"]
    for headers in ({}, AS_JSON, basic("x", "someone"), basic(str(bob.token)), {"authorization": "Digest x"}):
        before = [told(house.nobody.get(path, headers=headers)) for path in paths]
        ada.publish("ada/secret", {"a": b"secret"})
        assert ada.get(project + file_name).status == 200
        assert [told(house.nobody.get(path, headers=headers)) for path in paths] == before
        assert [each[0] for each in before] == [404, 404, 404, 200, 301]
        assert ada.delete(f"{wire.PACKAGES}/ada/secret").status < 300
        with house.registry.db.write() as connection:  # so that it begins with the number 1 again
            connection.execute(delete(tables.tombstones))
    assert told(ada.get(project)) == told(house.nobody.get(project))


def _manifest() -> Any:
    from tests.registry_server.asgi import Contents

    return Contents({"a": b"secret"}).manifest


def test_private_packages_need_a_token(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/iris", {"a": b"one"})
    assert ada.put(f"{wire.PACKAGES}/ada/iris/access/bob", {}).status == 200
    (found,) = page(house.nobody, **basic(str(ada.token)))["files"]
    for headers in (
        basic(str(bob.token)),
        basic(str(bob.token), "bob"),
        {"authorization": f"Bearer {bob.token}"},
    ):
        assert page(house.nobody, **headers)["files"] == [found]
        assert house.nobody.get(IRIS + found["url"], headers=headers).status == 200
    private = house.nobody.get(IRIS, headers=basic(str(bob.token)))
    assert private.headers["cache-control"] == "private, no-cache"
    assert "private" in house.nobody.get(IRIS + found["url"], headers=basic(str(bob.token))).headers["cache-control"]


def test_only_a_wrong_token_is_challenged(house: House, ada: Client, iris: str) -> None:
    for headers in (basic("dpk_wrong"), basic("wrong"), basic("dpk_wrong", "ada"), {"authorization": "Bearer dpk_x"}):
        for path in (IRIS, "/simple/datapkg-ada-absent/"):
            answer = house.nobody.get(path, headers=headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="datapkg"')
    for headers in (basic("pass", "ada"), {"authorization": "Basic %%%"}, {"authorization": "Basic"}):
        assert house.nobody.get(IRIS, headers=headers).status == 200
    assert house.nobody.get(wire.ME, headers=basic(str(ada.token))).status == 401  # the API takes no passwords


@pytest.mark.parametrize(
    "file_name",
    [
        "datapkg_ada_iris-9.9+h0123456789abcdef-py3-none-any.whl",
        "datapkg_ada_other-1.2.0{end}-py3-none-any.whl",
        "datapkg_ada_iris-1.2.0{end}.tar.gz",
        "datapkg_ada_iris-1.2.0{end}-py3-none-any.whl.metadata.metadata",
        "x.metadata",
    ],
)
def test_other_files_are_not_found(house: House, iris: str, file_name: str) -> None:
    name = file_name.format(end=f"+h{iris[:16]}")
    assert house.nobody.get(IRIS + name).status == 404


def test_wheels_of_a_deleted_package_are_not_served(house: House, ada: Client, iris: str) -> None:
    urls = [each["url"] for each in page(ada)["files"]]
    assert ada.delete(f"{wire.PACKAGES}/ada/iris").status < 300
    assert [ada.get(IRIS + url).status for url in urls] == [404] * 3
    other = ada.publish("ada/iris", {"a": b"two"})
    assert [ada.get(IRIS + url).status for url in urls] == [404] * 3
    assert page(ada)["versions"] == [f"0.dev2+h{other[:16]}"]
    ada.publish("ada/iris", {"a": b"one"}, version="1.2.0")
    assert [ada.get(IRIS + url).status for url in urls] == [404, 200, 404]


def test_missing_wheels_are_built_for_a_page(house: House, ada: Client, iris: str) -> None:
    before = page(ada)
    with house.registry.db.write() as connection:
        connection.execute(delete(tables.wheels))
    house.app.state.index_pages = NewestPages(1)  # as after a start
    after = page(ada)
    assert [each["hashes"] for each in after["files"]] == [each["hashes"] for each in before["files"]]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/*", "text/html"),
        ("application/*", HTML_TYPE),
        (f"{JSON_TYPE}, {HTML_TYPE}; q=0.1, text/html; q=0.01", JSON_TYPE),
        (f"{JSON_TYPE};q=0.2, text/html;q=0.9", "text/html"),
        (f"{JSON_TYPE};q=0, */*;q=0.1", "text/html"),
        (f"text/html;q=0, {HTML_TYPE};q=0, */*", JSON_TYPE),
        ("application/vnd.pypi.simple.latest+json", JSON_TYPE),
        ("TEXT/HTML; Q=1", "text/html"),
        ("image/png", None),
        ("text/html;q=x", None),
        (";;,,q=", None),
    ],
)
def test_accept_is_negotiated(accept: str, kind: str | None) -> None:
    assert wanted_type(accept) == kind


def test_page_of_another_type_is_refused(house: House, iris: str) -> None:
    assert house.nobody.get(IRIS, headers={"accept": "image/png"}).status == 406
    asked = house.nobody.get(f"{IRIS}?format=application/vnd.pypi.simple.v1%2Bjson")
    assert (asked.headers["content-type"], json.loads(asked.body)["name"]) == (JSON_TYPE, "datapkg-ada-iris")
    assert unquote(asked.json()["files"][0]["url"]) == asked.json()["files"][0]["filename"]


def test_page_of_a_package_has_the_requirement(house: House, ada: Client, iris: str) -> None:
    two = ada.publish("ada/iris", {"a": b"two"})
    for path, version in ((f"/ada/iris@sha256:{iris}", f"1.2.0+h{iris[:16]}"), ("/ada/iris", f"0.dev2+h{two[:16]}")):
        text = html.unescape(house.nobody.get(path).text)
        found = re.search(r"datapkg-ada-iris @ https://data\.example\.org(/simple/\S+)#sha256=([0-9a-f]{64})", text)
        assert found
        assert unquote(found[1]) == f"{IRIS}datapkg_ada_iris-{version}-py3-none-any.whl"
        assert sha256(house.nobody.get(found[1]).body) == found[2]
