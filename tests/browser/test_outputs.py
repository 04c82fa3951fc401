"""Notebook outputs of nodes in a real browser are readable in every theme and never run foreign code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.home import Home
from datapkg.reading.load import load
from tests.browser.pages import CONTRAST, THEMES, browser, in_theme, watched
from tests.examples import first
from tests.reading.packages import array_node, file_node, group_node, install, table_node

pytestmark = pytest.mark.needs("chromium")

README = b"""# Flowers

Some *words* of a [page](https://example.org/), and `code`.

| a | b |
|---|---|
| 1 | 2 |
"""
HIT = "window.hit=1"
EVIL = [
    f"<script>{HIT}</script>",
    f"<img src=x onerror={HIT}>",
    f'"><svg onload="{HIT}">',
    f"</style><script>{HIT}</script>",
    f"</title><script>{HIT}</script>",
    f"</pre></details></div><iframe srcdoc='<script>parent.{HIT}</script>'></iframe>",
    f"' onmouseover='{HIT}",
    f"]]><script>{HIT}</script>",
    f"[click](javascript:{HIT})",
    f'[click](https://x.y/"onmouseover="{HIT})',
    f"![x](x' onerror='{HIT})",
    f"<https://x.y/'onmouseover={HIT}>",
    "<style>*{display:none}</style>",
    "<base href=https://evil.example/>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "![pixel](https://evil.example/pixel.png)",
    "}} .datapkg {display:none}",
    "\u202etxt.exe\u2066",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def flowers() -> dict[str, str]:
    """Return the outputs of a package and of its nodes."""
    home = Home()
    frame = pd.DataFrame({"length": np.linspace(1, 9, 200).round(2), "kind": ["a", "b"] * 100, "n": range(200)})
    notes = {"length": {"unit": "cm", "description": "From the base to the tip"}}
    nodes = [
        table_node(home, "petals", frame, meta={"columns": notes}),
        table_node(home, "wide", pd.DataFrame(np.zeros((9, 300))).rename(columns=lambda at: f"column {at}")),
        file_node(home, "README.md", README),
        file_node(home, "raw/one.txt", b"one\ntwo\n"),
        file_node(home, "raw/deep/er/x.bin", b"\0"),
        array_node(home, "w", np.arange(600.0).reshape(20, 30)),
    ]
    install(home, "me/flowers", *nodes, meta={"title": "Flowers", "licence": "CC0-1.0", "description": "Of a meadow"})
    package: Any = load("me/flowers", home)
    return {"": package._repr_html_(), **{name: package[name]._repr_html_() for name in package}}


@pytest.mark.parametrize("theme", first(2, THEMES))
def test_outputs_are_readable_in_every_theme(chromium: Any, flowers: dict[str, str], theme: str) -> None:
    found = watched(chromium)
    found.page.set_content(in_theme(theme, *flowers.values()))
    assert found.page.evaluate(CONTRAST) > 4.5
    found.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert found.page.evaluate(CONTRAST) > 4.5
    assert (found.messages, found.requests) == ([], [])
    assert len(found.page.screenshot()) > 20_000


def test_table_preview_is_visible_and_package_tree_folds(chromium: Any, flowers: dict[str, str]) -> None:
    page = watched(chromium).page
    page.set_content(in_theme("light", flowers["petals"]))
    assert page.locator("table.dp-grid th", has_text="length").is_visible()
    assert page.locator("table.dp-grid tbody tr").count() == 5
    bars = page.locator("svg.dp-bars").first.bounding_box()
    assert bars is not None
    assert bars["width"] > 60
    assert bars["height"] > 15
    page.get_by_text("1 column described").click()
    assert page.get_by_text("From the base to the tip").is_visible()
    page.set_content(in_theme("light", flowers[""]))
    assert page.get_by_role("link", name="page").get_attribute("href") == "https://example.org/"
    inner = page.get_by_text("one.txt")
    assert not inner.is_visible()
    page.get_by_text("raw", exact=True).click()
    assert inner.is_visible()


def test_one_click_selects_the_whole_reference(chromium: Any, flowers: dict[str, str]) -> None:
    page = watched(chromium).page
    page.set_content(in_theme("light", flowers[""]))
    page.locator(".dp-ref").click()
    assert page.evaluate("getSelection().toString()").strip() == f"me/flowers@sha256:{load('me/flowers', Home()).hash}"


@pytest.mark.parametrize("width", first(1, [360, 700, 1_600]))
def test_outputs_are_not_wider_than_their_cell(chromium: Any, flowers: dict[str, str], width: int) -> None:
    page = watched(chromium, width).page
    page.set_content(in_theme("light", *flowers.values()))
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_sizes_are_not_truncated_in_a_narrow_cell(chromium: Any, flowers: dict[str, str]) -> None:
    page = watched(chromium, 360).page
    page.set_content(in_theme("light", flowers[""]))
    cut = "all => all.filter(each => each.scrollWidth > each.clientWidth).length"
    assert page.locator(".dp-tree").evaluate_all(cut) == 0


def test_foreign_text_cannot_run_hide_or_fetch_anything(chromium: Any) -> None:
    home = Home()
    names = [each.replace("/", "∕").replace("\u202e", "").replace("\u2066", "") for each in EVIL]
    frame = pd.DataFrame({each: [each, "\x1b[31m", "a\nb"] for each in EVIL})
    notes = {column: {"unit": column, "description": column} for column in frame.columns}
    meta = {"title": EVIL[0], "licence": EVIL[1], "description": " ".join(EVIL), "columns": notes}
    nodes = [
        table_node(home, "table", frame, meta=meta),
        *(file_node(home, f"{name}.txt", "\n".join(EVIL).encode(), file_name=f"{name}.txt") for name in names),
        *(group_node(f"g{name}", title=name) for name in names),
        file_node(
            home, "README.md", "\n\n".join([*EVIL, *(f"- {x}" for x in EVIL), *(f"|{x}|\n|-|" for x in EVIL)]).encode()
        ),
        array_node(home, "array", np.array(EVIL)),
    ]
    install(home, "me/evil", *nodes, meta=meta)
    package: Any = load("me/evil", home)
    outputs = [package._repr_html_(), *(node._repr_html_() for node in package.values())]
    found = watched(chromium)
    found.page.set_content(in_theme("light", *outputs))
    found.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    for each in found.page.locator(".datapkg a, .datapkg th, .datapkg td").all()[:40]:
        each.dispatch_event("mouseover")
    found.page.wait_for_timeout(200)
    assert found.page.evaluate("window.hit") is None
    assert (found.messages, found.requests) == ([], [])
    assert (
        found.page.locator(".datapkg script, .datapkg img, .datapkg iframe, .datapkg base, .datapkg link").count() == 0
    )
    assert found.page.locator("body > .datapkg").count() == len(outputs)
    assert found.page.locator(".dp-name").first.is_visible()
    hrefs = found.page.locator(".datapkg a").evaluate_all("all => all.map(each => each.href)")
    assert all(each.startswith("https://") for each in hrefs)
