"""READMEs on pages: images of the package are shown, relative links lead to nodes, all else is removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest

from datapkg.format import wire
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.objects.memory import MemoryObjects
from registry_server.services.images import MAX_IMAGE_BYTES, is_shown_image
from registry_server.services.readme_targets import MAX_LOOKED_UP, ReadmeTargets, Target
from registry_server.web.readme import Link, readme_html
from tests.registry_server.asgi import Client, Contents, House, sha256
from tests.registry_server.test_pages import Page, check_safe, page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
REL = 'rel="noopener noreferrer nofollow"'
README = b"""# Irises

[Usage](#usage) [table](data/petals.csv) [group](./data/) [notes](notes.txt) [absent](nosuch) [up](../x)
![a plot](plots/plot.png) ![drawing](drawing.svg) ![away](https://e.org/p.png) ![proto](//e.org/p.png)

## Usage
"""


def nodes(bodies: Mapping[str, bytes]) -> list[Node]:
    """Return a table built from `data/petals.csv`, and a file for each of the bodies."""
    block = Block(hash=sha256(b"x"), rows=1, size=1)
    table = TableNode(
        path="data/petals",
        columns=[("a", "double")],
        content="c1:" + "0" * 64,
        blocks=[block],
        rows=1,
        file_name="petals.csv",
    )
    files = [
        FileNode(path=path, hash=sha256(body), size=len(body), file_name=path.rpartition("/")[2])
        for path, body in bodies.items()
    ]
    return [table, *files]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A registry that accepts the tables of these tests, which have no values, as unchecked."""
    house = House(tmp_path, max_check_bytes=0)
    yield house
    house.close()


@pytest.fixture
def iris(ada: Client) -> Client:
    """Publish a package whose README shows and links its other files."""
    bodies = {"README.md": README, "plots/plot.png": PNG, "drawing.svg": SVG, "notes.txt": b"notes"}
    contents = Contents({"x": b"x", **bodies})
    contents.manifest = Manifest.make(nodes(bodies))
    contents.bodies[contents.manifest.hash] = contents.manifest.data
    answer = ada.push("ada/iris", contents, public=True)
    assert answer.status == 200, answer.text
    return ada


def test_a_readme_shows_images_and_links_of_its_package(house: House, iris: Client) -> None:
    found = page(house.nobody, "/ada/iris")
    ids = {value for _, name, value in found.attributes if name == "id"}
    assert {"node:data/petals", "node:data", "readme-usage"} <= ids
    assert {"#node:data/petals", "#node:data", "#readme-usage"} <= set(found.links)
    notes = wire.OBJECT.format(user="ada", name="iris", hash=sha256(b"notes"))
    drawing = wire.OBJECT.format(user="ada", name="iris", hash=sha256(SVG))
    assert {notes, drawing, "https://e.org/p.png"} <= set(found.links)
    assert [value for tag, name, value in found.attributes if (tag, name) == ("a", "download")] == [
        "notes.txt",
        "drawing.svg",
    ]
    images = [value for tag, name, value in found.attributes if (tag, name) == ("img", "src")]
    assert images == ["/static/icon.svg", f"/ada/iris/images/{sha256(PNG)}"]
    assert not any("nosuch" in link or "../x" in link or link.startswith("//") for link in found.links)


def test_image_media_type_comes_from_its_bytes(house: House, iris: Client) -> None:
    answer = house.nobody.get(f"/ada/iris/images/{sha256(PNG)}")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", PNG)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    for other in (SVG, b"notes", README, b"not here"):
        assert house.nobody.get(f"/ada/iris/images/{sha256(other)}").status == 404
    assert house.nobody.get("/ada/iris/images/nohash").status == 400


def test_image_of_a_private_package_is_not_found(house: House, ada: Client) -> None:
    ada.publish("ada/secret", {"plot.png": PNG})
    answer = house.nobody.get(f"/ada/secret/images/{sha256(PNG)}")
    absent = house.nobody.get(f"/ada/absent/images/{sha256(PNG)}")
    assert answer.status == 404
    assert answer.text == absent.text.replace("absent", "secret")


def test_readme_links_name_their_own_package(house: House, ada: Client, bob: Client) -> None:
    files = {"README.md": b"[n](notes.txt)", "notes.txt": b"notes"}
    for client, name in ((ada, "ada/one"), (bob, "bob/two")):
        client.publish(name, files, public=True)
        links = page(house.nobody, f"/{name}").links
        assert f"/api/v1/packages/{name}/objects/{sha256(b'notes')}" in links


ADDRESSES = [
    ("notes.txt", "notes.txt"),
    ("./notes.txt#top", "notes.txt"),
    ("/notes.txt?raw=1", "notes.txt"),
    ("data/../notes.txt", "notes.txt"),
    ("a%20b.bin", "a b.bin"),
    ("re\u0301sume\u0301", "résumé"),
    ("data/petals.csv", "data/petals"),
    ("data/petals", "data/petals"),
    ("data/petals.tsv", None),
    ("data", "data"),
    ("data/", "data"),
    ("notes", None),
    ("../notes.txt", None),
    ("", None),
    (".", None),
    ("?x", None),
    ("http://e.org/notes.txt", None),
    ("//e.org/notes.txt", None),
    ("http://[", None),
    ("%00", None),
    ("a/" * 5_000, None),
]


@pytest.mark.parametrize(("address", "path"), ADDRESSES)
def test_targets_of_readme_links(address: str, path: str | None) -> None:
    bodies = {"notes.txt": b"n", "a b.bin": b"a", "résumé": b"r"}
    targets = ReadmeTargets(Manifest.make(nodes(bodies)), MemoryObjects())
    found = targets.find(address)
    assert (found.path if found else None) == path


def test_number_of_looked_up_links_is_bounded() -> None:
    targets = ReadmeTargets(Manifest.make([GroupNode(path="g")]), MemoryObjects())
    for number in range(MAX_LOOKED_UP):
        targets.find(f"a{number}")
    assert targets.find("g") is None
    assert ReadmeTargets(Manifest.make([GroupNode(path="g")]), MemoryObjects()).find("g") == Target("g", "group")


def test_image_is_recognised_by_its_first_bytes() -> None:
    objects = MemoryObjects()
    kinds = {
        PNG: True,
        b"\xff\xd8\xff\xe0" + bytes(20): True,
        b"GIF89a" + bytes(20): True,
        b"RIFF" + bytes(4) + b"WEBP" + bytes(9): True,
        b"RIFF" + bytes(4) + b"WAVE" + bytes(9): False,
        SVG: False,
        b"\x89PNG": False,
        b"": False,
    }
    for data, shown in kinds.items():
        assert is_shown_image(objects, objects.put(BytesIO(data)), len(data)) is shown, data
    assert not is_shown_image(objects, sha256(PNG), MAX_IMAGE_BYTES + 1)
    assert not is_shown_image(objects, "0" * 64, 100)


def find(address: str) -> Link | None:
    return Link("/a/b", "c", "/src" if address == "i.png" else "") if address in ("f", "i.png") else None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[x](f)", f'<p><a href="/a/b" download="c" {REL}>x</a></p>\n'),
        ("![x](i.png)", '<p><img src="/src" alt="x" loading="lazy"></p>\n'),
        ("![x](f)", f'<p><a href="/a/b" download="c" {REL}>x</a></p>\n'),
        ("[![x](i.png)](f)", f'<p><a href="/a/b" download="c" {REL}><img src="/src" alt="x" loading="lazy"></a></p>\n'),
        ("[![x](https://e.org/i)](https://e.org)", f'<p><a href="https://e.org" {REL}>x</a></p>\n'),
        ("![x](//e.org/i.png) ![](other.png)", "<p>x image</p>\n"),
        ("[x](/a/b)", f"<p><a {REL}>x</a></p>\n"),  # our own address, but not one that was found
        ("[x](f) [y](/a/b)", f'<p><a href="/a/b" download="c" {REL}>x</a> <a href="/a/b" {REL}>y</a></p>\n'),
        ("[x](#A-b)", f'<p><a href="#readme-a-b" {REL}>x</a></p>\n'),
        ("## A b!\n\n## A b", '<h3 id="readme-a-b">A b!</h3>\n<h3 id="readme-a-b-1">A b</h3>\n'),
        ('## "><b onclick=x>', '<h3 id="readme-b-onclickx">"&gt;&lt;b onclick=x&gt;</h3>\n'),
        ("[x](javascript:f)", "<p>[x](javascript:f)</p>\n"),
        ("[x](data:text/html,f)", "<p>[x](data:text/html,f)</p>\n"),
        ("[x](MAILTO:a@e.org)", f'<p><a href="MAILTO:a@e.org" {REL}>x</a></p>\n'),
        ("[x](ftp://e.org)", f"<p><a {REL}>x</a></p>\n"),
    ],
)
def test_readme_links_and_images_are_rendered(source: str, expected: str) -> None:
    html = str(readme_html(source, "README.md", find))
    assert html.replace("</h3><h3", "</h3>\n<h3").strip() == expected.strip()


def test_link_targets_are_escaped() -> None:
    evil = Link('/x" onerror="alert(1)', '"><script>', "https://e.org/x.png")
    html = str(readme_html("![a](f) [b](f) [c](f)", "README.md", lambda address: evil))
    found = Page(html)
    assert set(found.tags) <= {"p", "img", "a"}
    assert not any(name.startswith("on") for _, name, _ in found.attributes)
    check_safe(str(readme_html("![a](f)", "README.md", lambda address: Link("#x"))))


def test_columns_of_a_table_keep_their_alignment() -> None:
    text = readme_html(f"|a|b|c|\n|-|:-:|-:|\n|1|2|{'word ' * 9}|\n", "README.md")
    assert '<th>a</th>\n<th align="center">b</th>\n<th align="right">c</th>' in text
    assert '<td>1</td>\n<td align="center">2</td>\n<td align="right" class="long">word ' in text
