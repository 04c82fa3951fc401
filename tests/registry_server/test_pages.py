"""Pages of public packages: safe for any content, and complete without JavaScript."""

from __future__ import annotations

import asyncio
import html
import re
import shlex
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest

from datapkg.cli.command import Session
from datapkg.cli.main import program
from datapkg.format import wire
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.manifest.patch import read_manifest
from registry_server.services.package_page import (
    MAX_NOTE,
    MAX_NOTES,
    MAX_ROWS,
    SHOWN_PUSHES,
    PageModel,
    check_counts,
    page_model,
    read_page_model,
)
from registry_server.services.readme_targets import ReadmeTargets
from registry_server.services.registry import Registry
from registry_server.web import pages
from registry_server.web.readme import readme_html
from registry_server.web.rendering import is_link, licence_page, linked
from tests.registry_server.asgi import Client, Contents, House, sha256

HASH = sha256(b"x")


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(client: Client, path: str, status: int = 200) -> Page:
    answer = client.get(path)
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    check_safe(answer.text)
    return Page(answer.text)


def check_safe(text: str) -> None:
    """Assert that nothing in the page runs or is loaded from other hosts."""
    found = Page(text)
    assert not {"script", "iframe", "object", "embed", "style", "base"} & set(found.tags)
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style", (tag, value)
        if name == "src" or (tag == "link" and name == "href" and not value.startswith("https://data.example.org/")):
            assert re.match(r"/static/|/[a-z0-9]+/[a-z0-9_]+/images/[0-9a-f]{64}\Z", value), value
        if name in ("href", "action"):
            assert re.match(r"(/|#|https?://|mailto:)", value), value


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A registry that accepts the tables of these tests, which have no values, as unchecked."""
    house = House(tmp_path, max_check_bytes=0)
    yield house
    house.close()


@pytest.fixture
def iris(ada: Client) -> Client:
    """Publish a package with some of everything."""
    readme = b"# Iris\n\nAbout *irises*.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    nodes: list[Node] = [
        FileNode(path="README", hash=sha256(readme), size=len(readme), file_name="README.md"),
        TableNode(
            path="measurements",
            columns=[("petal_length", "double"), ("class", "string")],
            content="c1:" + "0" * 64,
            blocks=[Block(hash=HASH, rows=150, size=1)],
            rows=150,
        ),
        ArrayNode(path="deep/er/weights", dtype="<f8", shape=[3, 4], hash=HASH, size=1),
        GroupNode(path="empty"),
        FileNode(path="raw/日本.txt", hash=HASH, size=1),
    ]
    meta = {"title": "Iris", "description": "Flowers", "licence": "CC-BY-4.0", "origin": "https://example.org/i?a=1&b"}
    contents = Contents({"README": readme, "x": b"x"})
    contents.manifest = Manifest.make(nodes, meta)
    contents.bodies[contents.manifest.hash] = contents.manifest.data
    answer = ada.push("ada/iris", contents, public=True, version="1.0", tag="stable", message="First release")
    assert answer.status == 200, answer.text
    return ada


def test_page_of_a_package(house: House, iris: Client) -> None:
    found = page(house.nobody, "/ada/iris")
    hash = iris.get(f"{wire.PACKAGES}/ada/iris").json()["latest"]
    for text in (
        "datapkg install ada/iris",
        "from datapkg.data.ada import iris",
        "Flowers",
        "CC-BY-4.0",
        "About irises",
        "measurements",
        "150",
        "2 columns",
        "petal_length",
        "double",
        "weights",
        "3 × 4",
        "日本.txt",
        "First release",
        "1.0",
        "stable",
        f"sha256:{hash}",
        "datapkg config registry https://data.example.org",
    ):
        assert text in found.text, text
    assert "https://example.org/i?a=1&b" in found.links
    assert "https://data.example.org/ada/iris" in found.links
    assert found.tags.count("h1") == 1


@pytest.mark.parametrize("state", ["1.0", "stable", "latest", "%3E=1", "sha256:{}", "sha256:{:.8}"])
def test_page_of_a_state(house: House, iris: Client, state: str) -> None:
    first = iris.get(f"{wire.PACKAGES}/ada/iris").json()["latest"]
    found = page(house.nobody, "/ada/iris@" + state.format(first))
    assert f"sha256:{first}" in found.text
    assert "not the latest" not in found.text
    iris.publish("ada/iris", {"other": b"1"})
    if state != "latest":
        found = page(house.nobody, "/ada/iris@" + state.format(first))
        assert "not the latest" in found.text
        assert "petal_length" in found.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ada/iris@9.9", 404),
        ("/ada/iris@nosuch", 404),
        ("/ada/iris@sha256:000000", 404),
        ("/ada/iris@$", 400),
        ("/ada/iris@", 200),
        ("/ada/nosuch", 404),
        ("/nosuch", 404),
        ("/ada/iris/", 404),
        ("/ada/iris/more", 404),
        ("/favicon.ico", 404),
        ("/%00/%00", 404),
        ("/%3Cscript%3Ealert(1)%3C/script%3E", 404),
        ("/a/%3Cimg%20src=x%20onerror=alert(1)%3E", 404),
        ("/?cursor=x", 400),
        ("/?q=" + "a+" * 50, 400),
        ("/?q=" + "a" * 500, 200),
        ("/?q=%3Cb%3E", 200),
        ("/?q=%00%E2%80%AE", 200),
    ],
)
def test_every_path_has_a_page(house: House, iris: Client, path: str, status: int) -> None:
    page(house.nobody, path, status)


def test_unsupported_method_has_an_error_page(house: House) -> None:
    assert house.nobody.post("/").status == 405
    check_safe(house.nobody.post("/").text)


def test_a_private_package_has_no_page(house: House, ada: Client, bob: Client) -> None:
    ada.publish("ada/secret", {"a": b"1"})
    hidden, absent = house.nobody.get("/ada/secret"), house.nobody.get("/ada/absent")
    assert hidden.status == 404
    assert hidden.text.replace("secret", "absent") == absent.text
    assert house.nobody.get("/ada").status == house.nobody.get("/bob").status == 404
    assert "secret" not in house.nobody.get("/").text


def test_list_has_the_most_recently_pushed_first(house: House, ada: Client) -> None:
    for name in ("one", "two", "three"):
        ada.publish(f"ada/{name}", {"a": name.encode()}, public=True)
    ada.publish("ada/one", {"a": b"again"})
    for path in ("/", "/ada"):
        links = [link for link in page(house.nobody, path).links if link.startswith("/ada/")]
        assert links == ["/ada/one", "/ada/three", "/ada/two"]
    assert "/ada/two" in page(house.nobody, "/?q=two").links
    assert "/ada/one" not in page(house.nobody, "/?q=two").links
    assert "No public package matches" in page(house.nobody, "/?q=nosuch").text


def test_search_results_show_matches_that_the_list_does_not(house: House, ada: Client) -> None:
    meta = {"title": "Iris", "description": "d " * 150 + "hidden", "keywords": ["botany"]}
    publish(ada, "ada/iris", [table("measured", ["Petal.Length"])], meta, {})
    for words, shown in (
        ("iris", ""),
        ("botany", "keywords: botany"),
        ("petal", "column Petal.Length in measured"),
        ("measured", "node measured"),
        ("hidden", "hidden"),
    ):
        lines = re.findall(r'<p class="found">(.*)</p>', house.nobody.get(f"/?q={words}").text)
        text = re.sub("<[^>]*>", "", "".join(lines))
        assert bool(lines) is bool(shown)
        assert shown in text
    assert "found" not in house.nobody.get("/").text


def test_later_pages_of_a_list_link_to_the_first_page(house: House, ada: Client) -> None:
    for number in range(53):
        ada.publish(f"ada/p{number:02}", {"a": b"1"}, public=True)
    found, path = [], "/"
    while path:
        links = page(house.nobody, path).links
        found += [link for link in links if link.startswith("/ada/")]
        assert ('<a href="/" rel="first">' in house.nobody.get(path).text) is (path != "/")
        path = next((link for link in links if "cursor=" in link), "")
    assert found == [f"/ada/p{number:02}" for number in range(52, -1, -1)]


def test_empty_registry_explains_how_to_publish(house: House) -> None:
    assert "datapkg push" in page(house.nobody, "/").text


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b onclick=x>\u202egpj.exe\u2066\u0007"


def table(path: str, names: list[str], **meta: Any) -> TableNode:
    """Return a table of one object, with metadata."""
    types = [(name, "double") for name in names]
    block = Block(hash=HASH, rows=150, size=1)
    return TableNode(path=path, meta=meta, columns=types, content="c1:" + "0" * 64, blocks=[block], rows=150)


def publish(client: Client, package: str, nodes: list[Node], meta: dict[str, Any], bodies: dict[str, bytes]) -> None:
    """Publish a public package of these nodes; their objects are those of `bodies`, and `x`."""
    contents = Contents({"x": b"x", **bodies})
    contents.manifest = Manifest.make(nodes, meta)
    contents.bodies[contents.manifest.hash] = contents.manifest.data
    answer = client.push(package, contents, public=True)
    assert answer.status == 200, answer.text


def test_descriptions_of_nodes_and_columns_are_shown(house: House, ada: Client) -> None:
    notes = {
        "length": {"unit": "cm", "description": "From base to tip"},
        "width": "Across",
        "nowhere": {"description": "No such column"},
    }
    nodes: list[Node] = [
        table("t", ["length", "width", "bare"], columns=notes, title="Petals", description="Measured by hand"),
        GroupNode(path="raw", meta={"description": "As they came"}),
        FileNode(path="raw/a", hash=HASH, size=1, meta={"title": "A photo"}),
    ]
    meta = {"keywords": ["flowers", "botany"], "homepage": "https://example.org/iris", "citation": "Fisher (1936)"}
    publish(ada, "ada/iris", nodes, meta, {})
    found = page(house.nobody, "/ada/iris")
    text = " ".join(found.text.split())
    for said in (
        *("length double, cmFrom base to tip", "width doubleAcross", "bare double", "Petals: Measured by hand"),
        *("As they came", "A photo", "flowers, botany", "Fisher (1936)"),
    ):
        assert said in text, said
    assert "No such column" not in text
    assert ("details", "open", "") in found.attributes
    assert "https://example.org/iris" in found.links
    assert "/ada/iris" in page(house.nobody, "/?q=botany").links


@pytest.mark.parametrize(
    ("licence", "address"),
    [
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0.html"),
        ("cc0-1.0", "https://spdx.org/licenses/CC0-1.0.html"),
        ("https://example.org/terms", "https://example.org/terms"),
        *(
            (text, "")
            for text in ("MIT OR 0BSD", "LicenseRef-mine", "cc-by", "", "(" * 90, "MIT/../..", EVIL, ["MIT", "0BSD"])
        ),
    ],
    ids=str,
)
def test_licence_links_to_its_text(house: House, ada: Client, licence: Any, address: str) -> None:
    assert (licence_page(licence) if isinstance(licence, str) else "") == address
    publish(ada, "ada/p", [], {"License": licence}, {})
    links = page(house.nobody, "/ada/p").links
    assert [link for link in links if "spdx" in link or "terms" in link] == ([address] if address else [])


def test_files_of_a_licence_are_linked(house: House, ada: Client) -> None:
    files = {
        "LICENSE": b"mine",
        "Copying.txt": b"more",
        "sub/LICENSE": b"other",
        "licensed.txt": b"no",
        "README.rst": b"r",
    }
    ada.publish("ada/p", files, public=True)
    found = page(house.nobody, "/ada/p")
    assert {value for tag, name, value in found.attributes if name == "download"} == {"LICENSE", "Copying.txt"}
    (address,) = [link for link in found.links if link.endswith(sha256(b"mine"))]
    answer = house.nobody.get(address)
    assert (answer.status, answer.text) == (200, "mine")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_column_descriptions_are_bounded() -> None:
    notes = {f"c{number}": {"unit": "u" * 999, "description": "d" * 999} for number in range(200)}
    tables: list[Node] = [table(f"t{number:03}", list(notes), columns=notes, title="t" * 999) for number in range(100)]
    model = page_model(Manifest.make(tables), "")
    assert len(model.tree) == 100
    assert len(model.tree[0].columns[0].description) == MAX_NOTE + 1
    assert not any(column.description for column in model.tree[-1].columns)
    assert [column.name for column in model.tree[-1].columns] == [f"c{number}" for number in range(60)]
    said = sum(len(row.about) + sum(len(c.unit) + len(c.description) for c in row.columns) for row in model.tree)
    assert said <= MAX_NOTES


def test_descriptions_with_html_are_escaped(house: House, ada: Client) -> None:
    column = EVIL.replace("\u0007", "")
    nodes: list[Node] = [
        table("t", [column], columns={column: {"unit": EVIL, "description": EVIL}}, title=EVIL, description=EVIL),
        table("u", [column], columns=[EVIL], title=[EVIL]),
        FileNode(path=f"LICENSE {column.replace('/', '')}", hash=HASH, size=1),
    ]
    publish(ada, "ada/evil", nodes, {"keywords": [EVIL, EVIL], "homepage": EVIL, "columns": EVIL}, {})
    answer = house.nobody.get("/ada/evil")
    check_safe(answer.text)
    assert "onerror=alert" in answer.text
    for character in "\u202e\u2066\u0007":
        assert character not in answer.text


def test_metadata_with_html_is_escaped(house: House, ada: Client) -> None:
    name = EVIL.replace("/", "").replace("\u0007", "")
    contents = Contents(
        {name: b"1", f"sub/{name}": b"2", "README.md": EVIL.encode()},
        {"title": EVIL, "description": EVIL, "licence": EVIL, EVIL: EVIL, "link": "javascript:alert(1)", "n": [EVIL]},
    )
    ada.push("ada/evil", contents, public=True, message=EVIL)
    for path in ("/", "/ada", "/ada/evil", "/?q=script"):
        answer = house.nobody.get(path)
        check_safe(answer.text)
        for character in "\u202e\u2066\u0007":
            assert character not in answer.text
        if path != "/?q=script":
            assert "⟨U+202E⟩" in answer.text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# Big\n\n## Small", '<h2 id="readme-big">Big</h2><h3 id="readme-small">Small</h3>'),
        ("###### Least", '<h6 id="readme-least">Least</h6>'),
        ("![a plot](plot.png)", "<p>a plot</p>\n"),
        (
            "![p](https://e.org/p.png)",
            '<p><a href="https://e.org/p.png" rel="noopener noreferrer nofollow">p</a></p>\n',
        ),
        ("![p](javascript:alert(1))", "<p>![p](javascript:alert(1))</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](/ada)", '<p><a rel="noopener noreferrer nofollow">x</a></p>\n'),
        ("[x](//e.org)", '<p><a rel="noopener noreferrer nofollow">x</a></p>\n'),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"),
        ("a\u202eb", "<p>a⟨U+202E⟩b</p>\n"),
        ("```python\nx < 1\n```", "<pre><code>x &lt; 1\n</code></pre>\n"),
    ],
)
def test_readme_is_rendered_safely(source: str, expected: str) -> None:
    assert str(readme_html(source, "README.md")) == expected


def test_a_plain_readme_is_shown_as_it_is() -> None:
    assert str(readme_html("# no *heading* <b>", "README.txt")) == "<pre># no *heading* &lt;b&gt;</pre>"


@pytest.mark.parametrize("piece", ["[", "![[", "*a ", "|a", "> ", "a|b\n-|-\n|\n", "<a ", "[a][b", "`", "- "])
def test_readme_rendering_is_fast_for_hostile_input(piece: str) -> None:
    started = time.perf_counter()
    readme_html((piece * 65_536)[:65_536], "README.md")
    assert time.perf_counter() - started < 10  # about 0.5 s on a quiet machine


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["README.md"], "README.md"),
        (["readme.MD", "README.txt"], "readme.MD"),
        (["ReadMe", "README.rst"], "ReadMe"),
        (["sub/README.md"], ""),
        (["README.md/x"], ""),
    ],
)
def test_readme_file_is_chosen_by_name(house: House, ada: Client, names: list[str], shown: str) -> None:
    ada.publish("ada/p", {name: f"text of {name.upper()}".encode() for name in names}, public=True)
    text = page(house.nobody, "/ada/p").text
    assert (f"text of {shown.upper()}" in text) is bool(shown)
    assert text.count("text of") == bool(shown)


def test_readme_that_is_not_text_is_shown_with_replacements(house: House, ada: Client) -> None:
    ada.publish("ada/p", {"README.md": b"\xff\xfe\x00bin\x00ary\xed\xa0\x80"}, public=True)
    page(house.nobody, "/ada/p")


def test_long_readme_is_truncated(house: House, ada: Client) -> None:
    ada.publish("ada/p", {"README.md": b"word " * 100_000}, public=True)
    found = page(house.nobody, "/ada/p")
    assert "This README is truncated" in found.text
    assert len(found.text) < 300_000


def test_large_tree_is_bounded() -> None:
    files: list[Node] = [FileNode(path=f"a/b/c{number:05}/x", hash=HASH, size=1) for number in range(5_000)]
    model = page_model(Manifest.make(files), "")
    assert len(model.tree) == MAX_ROWS
    shown = sum(row.kind == "file" for row in model.tree)
    assert model.more_nodes == 5_000 - shown
    columns = [(f"c{number}", "double") for number in range(1_000)]
    block = Block(hash=HASH, rows=1, size=1)
    table = TableNode(path="t", columns=columns, content="c1:" + "0" * 64, blocks=[block], rows=1)
    (row,) = page_model(Manifest.make([table]), "").tree
    assert (len(row.columns), row.more_columns) == (60, 940)


def test_the_tree_has_every_group_once_and_in_order() -> None:
    nodes: list[Node] = [
        FileNode(path=path, hash=HASH, size=1) for path in ("a/b/x", "a/b/y", "a/c/x", "a/z", "b/b/x", "top")
    ]
    nodes.append(GroupNode(path="a/c", meta={"k": 1}))
    model = page_model(Manifest.make(nodes), "")
    assert [(row.depth, row.name, row.kind) for row in model.tree] == [
        (0, "a", "group"),
        (1, "b", "group"),
        (2, "x", "file"),
        (2, "y", "file"),
        (1, "c", "group"),
        (2, "x", "file"),
        (1, "z", "file"),
        (0, "b", "group"),
        (1, "b", "group"),
        (2, "x", "file"),
        (0, "top", "file"),
    ]


def test_an_empty_package_has_a_page(house: House, ada: Client) -> None:
    ada.publish("ada/p", {}, public=True)
    assert "This package is empty" in page(house.nobody, "/ada/p").text


def test_a_damaged_manifest_has_an_error_page(house: House, ada: Client) -> None:
    house.damage(ada.publish("ada/p", {"a": b"1"}, public=True))
    found = page(house.nobody, "/ada/p", 422)
    assert "damaged" in found.text or "hashes to" in found.text


def test_static_files_are_served(house: House) -> None:
    for name, kind in (("style.css", "text/css"), ("icon.svg", "image/svg+xml")):
        answer = house.nobody.get(f"/static/{name}")
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    for path in ("/static/nosuch", "/static/", "/static/..%2f..%2fapp.py", "/static/../app.py"):
        assert house.nobody.get(path).status == 404
    css = house.nobody.get("/static/style.css").text
    assert "http" not in css
    assert "prefers-color-scheme: dark" in css


def test_is_link_accepts_only_web_urls() -> None:
    good: list[Any] = ["https://e.org", "http://e.org/a?b=c&d#e"]
    bad: list[Any] = ["javascript:x", "https://e.org x", 'https://e.org"', "https://e.org\n", "//e.org", "ftp://e.org"]
    assert all(map(is_link, good))
    assert not any(map(is_link, bad))


def test_only_shown_nodes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["README.md", "LICENSE", *(f"file{number:05}.bin" for number in range(12_000))]
    data = Manifest.make([FileNode(path=name, hash=sha256(b"1"), size=1) for name in names]).data
    manifest = read_manifest(data, sha256(data), verified=True)
    assert isinstance(manifest, MappedManifest)
    read: list[str] = []
    get = MappedManifest.get

    def noted(self: MappedManifest, path: str) -> Node | None:
        read.append(path)
        return get(self, path)

    monkeypatch.setattr(MappedManifest, "get", noted)
    model = page_model(manifest, "")
    assert (model.readme_name, [name for name, _ in model.licence_files]) == ("README.md", ["LICENSE"])
    assert (model.files, model.more_nodes) == (len(names), len(names) - MAX_ROWS)
    assert set(read) == {"README.md", "LICENSE"}


def test_concurrent_requests_render_a_page_once(house: House, ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.publish("ada/iris", {"README.md": b"# Hello"}, public=True)
    made: list[str] = []

    def counted(registry: Registry, hash: str) -> tuple[PageModel, ReadmeTargets]:
        made.append(hash)
        return read_page_model(registry, hash)

    monkeypatch.setattr(pages, "read_page_model", counted)

    async def asked() -> list[int]:
        answers = (house.nobody._run("GET", "/ada/iris", [], {"host": "registry.test"}, 0) for _ in range(6))
        return [answer.status for answer in await asyncio.gather(*answers)]

    assert asyncio.run(asked()) == [200] * 6
    assert len(made) == 1


def commands(text: str) -> list[str]:
    """Return the commands on a page, without prompts."""
    text = re.sub(r'<span class="prompt">.*?</span>', "", text)
    return [html.unescape(line) for line in re.findall(r'<(?:code|span class="line")>(datapkg .*?)</', text)]


def test_every_command_on_a_page_can_be_typed(house: House, ada: Client) -> None:
    found = commands(house.nobody.get("/").text) + commands(house.nobody.get("/client/").text)
    assert "datapkg push me/sales --public" in found
    tables: list[Node] = [table(f"t{number:04}", ["a"]) for number in range(MAX_ROWS + 1)]
    for _ in range(SHOWN_PUSHES + 1):
        readme = b"word " * 60_000 + str(_).encode()
        nodes = [*tables, FileNode(path="README", hash=sha256(readme), size=len(readme), file_name="README.md")]
        publish(ada, "ada/iris", nodes, {}, {"README": readme})
    for state, shown in (("", ""), ("@%3E=0,%3C2", "@>=0,<2")):
        if state:
            hash = ada.get(f"{wire.PACKAGES}/ada/iris").json()["latest"]
            assert ada.put(f"{wire.PACKAGES}/ada/iris/versions/1.0", {"hash": hash}).status == 200
        lines = commands(house.nobody.get(f"/ada/iris{state}").text)
        words = [shlex.split(line) for line in lines]
        assert ["datapkg", "install", f"ada/iris{shown}"] in words
        assert ["datapkg", "show", f"ada/iris{shown}"] in words
        assert ["datapkg", "cat", f"ada/iris/README{shown}"] in words
        assert ["datapkg", "verify", "--content", f"ada/iris{shown}"] in words
        assert ["datapkg", "log", "ada/iris"] in words
        found += lines
    for line in found:
        _, name, *arguments = shlex.split(line)
        parent = click.Context(program, obj=Session())
        command = program.get_command(parent, name)
        assert command, line
        command.make_context(name, arguments, parent=parent)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://doi.org/10.1/x, and http://e.org.", ["https://doi.org/10.1/x", "http://e.org"]),
        ("(https://e.org/a)", ["https://e.org/a"]),
        ("https://e.org/Iris_(plant)", ["https://e.org/Iris_(plant)"]),
        ('https://e.org/"onclick=x javascript:alert(1) <b>', ["https://e.org/"]),
        ("no address", []),
    ],
)
def test_urls_in_a_text_become_links(text: str, links: list[str]) -> None:
    found = Page(str(linked(text)))
    assert found.links == links
    assert found.text == text


def test_tags_and_versions_are_in_natural_order(house: House, ada: Client) -> None:
    for number in (2, 10, 1):
        ada.publish("ada/p", {"a": b"%d" % number}, public=True, version=f"1.{number}", tag=f"t{number}")
    links = [link for link in page(house.nobody, "/ada/p").links if re.match(r"/ada/p@[t1l]", link)]
    assert links == [f"/ada/p@{name}" for name in ("1.10", "1.2", "1.1", "latest", "t1", "t2", "t10")]


def test_a_yanked_version_is_shown_with_its_reason(house: House, iris: Client) -> None:
    iris.put(f"{wire.PACKAGES}/ada/iris/versions/1.0/yank", {"reason": "<b>wrong</b> unit"})
    text = house.nobody.get("/ada/iris").text
    assert "Version 1.0 was yanked: <bdi>&lt;b&gt;wrong&lt;/b&gt; unit</bdi>" in text
    assert text.count(">yanked</span>") == 1
    check_safe(text)


def test_page_of_a_missing_state_links_to_its_package(house: House, iris: Client, ada: Client) -> None:
    ada.publish("ada/secret", {"a": b"1"})
    for state in ("9.9", "nosuch", "sha256:000000", "$"):
        status = 400 if state == "$" else 404
        assert "/ada/iris" in page(house.nobody, f"/ada/iris@{state}", status).links
        assert "/ada/secret" not in page(house.nobody, f"/ada/secret@{state}", 404).links


def test_checks_and_dtypes_are_shown(house: House, iris: Client) -> None:
    assert "float64 3 × 4" in page(house.nobody, "/ada/iris").text
    outcomes = ["ok", "warned", "ok", ["ok"], None, "<b>"]
    assert check_counts(wire.StateChecks(checks=[{"outcome": each} for each in outcomes])) == "2 ok, 1 warned"
    assert check_counts(wire.StateChecks()) == ""


def test_checks_of_a_page_are_those_of_the_last_push(house: House, ada: Client) -> None:
    """A state may be pushed again with other checks, after its page was shown."""
    first, then = ({"checks": [{"outcome": each}]} for each in ("failed", "ok"))
    parent = ada.publish("ada/checked", {"a": b"1"}, public=True, record=first)
    assert "1 failed" in page(house.nobody, "/ada/checked").text
    ada.publish("ada/checked", {"a": b"1"}, parent=parent, record=then)
    text = page(house.nobody, "/ada/checked").text
    assert "1 ok" in text
    assert "1 failed" not in text


def test_many_tags_are_folded_but_all_listed(house: House, iris: Client) -> None:
    hash = iris.get(f"{wire.PACKAGES}/ada/iris").json()["latest"]
    names = {f"t{number}" for number in range(40)}
    for name in names:
        assert iris.put(f"{wire.PACKAGES}/ada/iris/tags/{name}", {"hash": hash}).status == 200
    found = page(house.nobody, "/ada/iris")
    assert {f"/ada/iris@{name}" for name in {*names, "latest", "stable"}} <= set(found.links)
    assert "12 more" in found.text
