"""Open pages in a real browser and record their console messages, dialogs and requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.conftest import find_program

# The colour variables of JupyterLab's themes that matter here, and the values on a page without a theme.
THEMES = {
    "light": "--jp-layout-color0: #fff; --jp-content-font-color1: rgba(0, 0, 0, .87); --jp-brand-color1: #1976d2",
    "dark": "--jp-layout-color0: #111; --jp-content-font-color1: #fff; --jp-brand-color1: #2196f3",
    "plain": "",
}
# Lowest contrast of any text to the page background, as WCAG 2 computes it.
CONTRAST = """() => {
  const part = each => (each /= 255) <= .03928 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const ground = numbers(getComputedStyle(document.body).backgroundColor).slice(0, 3);
  let worst = 21;
  for (const each of document.querySelectorAll(".datapkg *")) {
    const own = [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || each.matches("style, title") || !each.checkVisibility()) continue;
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(each).color);
    let share = alpha;
    for (let at = each; at; at = at.parentElement) share *= getComputedStyle(at).opacity;
    const seen = [r, g, b].map((value, at) => value * share + ground[at] * (1 - share));
    const [low, high] = [light(seen), light(ground)].sort((one, two) => one - two);
    worst = Math.min(worst, (high + .05) / (low + .05));
  }
  return worst;
}"""


@dataclass
class Watched:
    """A page with its console messages, errors and dialogs (`messages`) and its requests (`requests`)."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_program("chromium"), args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def watched(chromium: Any, width: int = 1_000) -> Watched:
    """Open a page and record its console messages, dialogs, errors and requests."""
    page = chromium.new_page(viewport={"width": width, "height": 800})
    found = Watched(page)
    page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    page.on("dialog", lambda dialog: (found.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    return found


def in_theme(theme: str, *bodies: str) -> str:
    """Return a page with these outputs in the theme of a notebook."""
    ground = "background: var(--jp-layout-color0, #fff); margin: 12px"
    return f'<!doctype html><meta charset="utf-8"><body style="{THEMES[theme]}; {ground}">{"<hr>".join(bodies)}'
