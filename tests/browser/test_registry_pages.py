"""Registry pages in a real browser fit a phone, work by keyboard, are readable, and load nothing foreign."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.browser.pages import browser
from tests.examples import first
from tests.live_registry import LiveRegistry, live_registry

pytestmark = pytest.mark.needs("chromium")

USER, NAME = "browserpages" + "x" * 20, "a_long_name_of_a_package_" + "y" * 30
PACKAGE = f"/{USER}/{NAME}"
PAGES = {
    "front": "/",
    "search": "/?q=sensor+petals+fisher",
    "user": f"/{USER}",
    "package": PACKAGE,
    "state": f"{PACKAGE}@1.0",
    "client": "/client/",
    "absent": f"/{USER}/absent",
    "no match": f"/?q={'w' * 200}",
    "absent state": f"{PACKAGE}@9.9",
    "no cursor": "/?cursor=x",
    "long path": f"/{'a/' * 100}",
}
README = f"""# Petals

[The table](data/petals.csv), [usage](#usage), [absent](nosuch) · עברית · 日本語

![a square](square.png) ![pixel](https://foreign.example/pixel.png)

```
{"code " * 60}
```

|{"|".join(f"column {n}" for n in range(20))}|
|{"|".join("-" * 20)}|
|{"|".join(["value"] * 20)}|

| node | rows | meaning | unit | kept as |
|---|--:|:-:|---|---|
| `petals` | 1 | {"the length of a petal, in centimetres, " * 2} | cm | one table of a text file |

## Usage

By Fisher. {"w" * 300}
"""
BUILD = f"""
meta:
  title: {"Donaudampfschifffahrtsgesellschaft " * 3}
  description: {"A long description. " * 30}
  licence: Apache-2.0
  homepage: https://example.org/{"a" * 150}
  keywords: [botany, {"k" * 80}]
  {"key" * 30}: value
  origin: Measured by hand, see https://example.org/origin.
contents:
  "**/*": {{}}
"""
# The right edge of a page, and the elements that overflow it or their box.
OVERFLOW = """() => [
  ...(document.documentElement.scrollWidth > innerWidth ? ["page"] : []),
  ...[...document.querySelectorAll(".lines, .line")].filter(each => each.scrollWidth > each.clientWidth)
    .map(each => each.textContent),
]"""
LINES = """() => [...document.querySelectorAll(".line")].map(each => {
  getSelection().selectAllChildren(each);
  return getSelection().toString();
})"""
# Lowest contrast of text to its nearest background, as WCAG 2 computes it.
CONTRAST = """() => {
  const part = each => (each /= 255) <= .03928 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const ground = each => {
    for (let at = each; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
  };
  let worst = 21;
  const worse = (each, colour) => {
    const [low, high] = [light(numbers(colour)), light(ground(each))].sort((a, b) => a - b);
    worst = Math.min(worst, (high + .05) / (low + .05));
  };
  for (const each of document.querySelectorAll("[placeholder]")) {
    worse(each, getComputedStyle(each, "::placeholder").color);
  }
  for (const each of document.querySelectorAll("body *")) {
    if (![...each.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    if (!each.checkVisibility()) continue;
    worse(each, getComputedStyle(each).color);
  }
  return worst;
}"""
FOCUSED = """() => {
  const style = getComputedStyle(document.activeElement), box = document.activeElement.getBoundingClientRect();
  return {
    name: document.activeElement.outerHTML.slice(0, 80),
    outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    seen: box.bottom > 0 && box.top < innerHeight && box.width > 0,
  };
}"""
CELLS = """() => [...document.querySelectorAll(".tree tr")].map(
  row => [...row.cells].filter(each => each.checkVisibility())
    .map(each => Math.round(each.getBoundingClientRect().left))
)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(registry: LiveRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a registry with a package that has one of every kind of content, all of it long."""
    folder = tmp_path_factory.mktemp("pages")
    token = registry.add_user(USER)
    home = Home({"DATAPKG_HOME": str(folder / "home"), "DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": token})
    _write(folder / "source")
    build_package(home, Ref.parse(f"{USER}/{NAME}"), folder / "source")
    options: dict[str, Any] = {"public": True, "message": "m" * 200}
    push_package(home, Ref.parse(f"{USER}/{NAME}"), version="1.0", tag="t" * 40, **options)
    (folder / "source/more.txt").write_text("more")
    build_package(home, Ref.parse(f"{USER}/{NAME}"), folder / "source")
    push_package(home, Ref.parse(f"{USER}/{NAME}"), **options)
    return registry.url


def _write(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    image = BytesIO()
    Image.new("RGB", (600, 20), "green").save(image, "PNG")
    long = "a_long_name_" * 12
    for name, body in {
        "README.md": README.encode(),
        "LICENSE": b"as you like",
        "square.png": image.getvalue(),
        "data/petals.csv": b"length,kind\n1.4,setosa\n",
        "data/wide.csv": (",".join(f"sensor_{n:04}_{'z' * 40}" for n in range(90)) + "\n" + "1," * 89 + "1\n").encode(),
        f"{long}.csv": f"{'c' * 200},b\n1,2\n".encode(),
        "קבצים/טבלה.csv": "שם\nדוד\n".encode(),
        "日本語/東京.txt": b"x",
        "a/b/c/d/e/f/g/h/i/j.txt": b"deep",
        "build.yml": BUILD.encode(),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)


def opened(chromium: Any, address: str, width: int, scheme: str = "light") -> tuple[Any, list[str]]:
    """Return a page with all its details open, and the URLs that it requested."""
    page = chromium.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    return page, asked


@pytest.mark.parametrize("name", first(3, PAGES))
def test_page_fits_its_window_and_is_readable(chromium: Any, site: str, name: str) -> None:
    for width, scheme in ((390, "light"), (1280, "dark")):
        page, asked = opened(chromium, site + PAGES[name], width, scheme)
        assert page.evaluate(OVERFLOW) == []
        assert page.evaluate(CONTRAST) >= 4.5
        assert all(address.startswith(f"{site}/") for address in asked)
        page.close()
    page, _ = opened(chromium, site + PAGES[name], 1280)
    assert page.evaluate(CONTRAST) >= 4.5
    page.close()


def test_commands_are_copied_as_one_line(chromium: Any, site: str) -> None:
    page, _ = opened(chromium, site + PACKAGE, 390)
    lines = page.evaluate(LINES)
    assert lines[0] == f"datapkg install {USER}/{NAME}"  # without the prompt
    assert f"from datapkg.data.{USER} import {NAME}" in lines
    assert f"datapkg config registry {site}" in lines
    assert any(re.fullmatch(rf"pip install 'datapkg @ {site}/client/\S+\.whl#sha256=[0-9a-f]{{64}}'", x) for x in lines)
    assert not any("\n" in line for line in lines)
    page.close()


@pytest.mark.parametrize("name", first(1, ["package", "search", "client"]))
def test_keyboard_reaches_every_control_with_visible_focus(chromium: Any, site: str, name: str) -> None:
    page, _ = opened(chromium, site + PAGES[name], 390)
    met = []
    while True:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body") or len(met) > 200:
            break
        met.append(page.evaluate(FOCUSED))
    assert [each["name"] for each in met if each["outline"] < 2 or not each["seen"]] == []
    links = page.evaluate("document.querySelectorAll('a[href], input, button, summary').length")
    assert links <= len(met) < 200
    page.close()


@pytest.mark.parametrize("width", first(1, [390, 1280]))
def test_rows_of_every_kind_align_with_the_table_columns(chromium: Any, site: str, width: int) -> None:
    page, _ = opened(chromium, site + PACKAGE, width)
    head, *rows = page.evaluate(CELLS)
    kinds = set(page.evaluate("[...document.querySelectorAll('.tree tbody tr')].map(each => each.className)"))
    assert kinds == {"is-file", "is-table", "is-group"}
    assert len(head) == (4 if width > 1_000 else 3)
    assert [row for row in rows if row != head] == []
    page.close()


def test_readme_shows_its_image_and_links_to_nodes(chromium: Any, site: str) -> None:
    page, _ = opened(chromium, site + PACKAGE, 390)
    image = page.locator(".readme img")
    image.scroll_into_view_if_needed()
    shown = image.evaluate(
        "each => each.decode().then(() => [each.naturalWidth, each.width <= each.parentElement.clientWidth])"
    )
    assert shown == [600, True]
    for link, target in (("The table", "node:data/petals"), ("usage", "readme-usage")):
        page.get_by_role("link", name=link, exact=True).click()
        assert page.evaluate("document.querySelector(':target').id") == target
    page.close()


@pytest.mark.parametrize("width", first(1, [390, 1280]))
def test_metadata_and_cells_are_wide_enough_for_words(chromium: Any, site: str, width: int) -> None:
    page, _ = opened(chromium, site + PACKAGE, width)
    widths = "all => Math.min(...all.map(each => each.getBoundingClientRect().width))"
    assert page.locator(".facts dd").evaluate_all(widths) > 170
    assert page.locator(".readme td.long").evaluate_all(widths) > 150
    aligned = page.locator(".readme table").nth(1).locator("td").evaluate_all("all => all.map(e => e.align)")
    assert aligned == ["", "right", "center", "", ""]
    page.close()


def test_each_tree_level_is_indented_further(chromium: Any, site: str) -> None:
    page, _ = opened(chromium, site + PACKAGE, 390)
    names = [page.locator(f".tree .d{depth}").first for depth in range(9)]
    lefts = [name.evaluate("each => each.firstElementChild.getBoundingClientRect().left") for name in names]
    assert lefts == sorted(set(lefts))
    page.close()


def test_pages_work_without_javascript(chromium: Any, site: str) -> None:
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(site)
    page.get_by_label("Search packages").fill("petals fisher")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=f"{USER}/{NAME}").click()
    page.get_by_text("Set up datapkg first").click()
    assert page.get_by_text(f"datapkg config registry {site}").is_visible()
    page.get_by_text("90 columns").click()
    assert page.get_by_text("and 30 more").is_visible()
    context.close()


def test_first_key_skips_to_the_content(chromium: Any, site: str) -> None:
    page, _ = opened(chromium, site + PACKAGE, 390)
    page.keyboard.press("Tab")
    assert page.get_by_role("link", name="Skip to the content").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    page.close()


def test_empty_registry_fits_a_phone(chromium: Any, tmp_path: Path) -> None:
    with live_registry(tmp_path) as empty:
        page, _ = opened(chromium, empty.url, 390)
        assert page.get_by_text("No public packages yet.").is_visible()
        assert page.evaluate(OVERFLOW) == []
        assert page.evaluate(CONTRAST) >= 4.5
        page.close()
