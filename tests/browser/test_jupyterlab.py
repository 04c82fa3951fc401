"""Notebooks in a real JupyterLab: outputs in both themes, commands, completion, progress; foreign code never runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import datapkg
from tests.browser.lab import Lab, lab
from tests.browser.pages import CONTRAST, Watched, browser, watched

pytestmark = [
    pytest.mark.big,
    pytest.mark.needs("chromium"),
    pytest.mark.needs_library("jupyterlab"),
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).resolve().parents[2]
HIT = "window.hit = 1"
CELLS = [
    "from datapkg.data.examples import penguins\npenguins",
    "penguins.sizes",
    "%load_ext datapkg\n%datapkg ls",
    "import datapkg.api.notebook_progress, time\n"
    "with datapkg.api.notebook_progress.Bar() as tell:\n"
    "    for done in range(16):\n        tell('objects', done, 16); time.sleep(0.1)",
    "from datapkg.data.me import evil\nevil",
    "%datapkg shwo",
    "print('never')",
]


@pytest.fixture
def running(tmp_path: Path, own_home: Path) -> Iterator[Lab]:
    (tmp_path / "README.md").write_text(f"# Evil\n\n<script>{HIT}</script> <img src=x onerror='{HIT}'>")
    (tmp_path / "t.csv").write_text(f'a,"<script>{HIT}</script>"\n1,"<img src=x onerror={HIT}>"\n')
    datapkg.build("me/evil", {"README": tmp_path / "README.md", "t": tmp_path / "t.csv"})
    datapkg.build("examples/penguins", ROOT / "sample_packages" / "penguins")
    folder = tmp_path / "lab"
    folder.mkdir()
    paths = ":".join([str(ROOT), *(each for each in sys.path if each.endswith("-packages"))])
    with lab(folder, {"DATAPKG_HOME": str(own_home), "PYTHONPATH": paths}) as found:
        yield found


def test_notebook_outputs_render_in_both_themes(running: Lab) -> None:
    with browser() as chromium:
        for theme in ("Light", "Dark"):
            running.use_theme(f"JupyterLab {theme}")
            running.write(f"{theme}.ipynb", *CELLS)
            found = watched(chromium, 1_200)
            found.page.set_viewport_size(
                {"width": 1_200, "height": 2_400}
            )  # cells outside the viewport are not rendered
            run_all(running, found, f"{theme}.ipynb")
            found.page.screenshot(path=running.folder / f"{theme}.png")
            check(found, theme)
            found.page.close()


def run_all(running: Lab, found: Watched, notebook: str) -> None:
    page = found.page
    page.set_default_timeout(60_000)
    page.goto(running.page(notebook))
    page.get_by_text("| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.get_by_text("did you mean show?").wait_for()


def check(found: Watched, theme: str) -> None:
    page = found.page
    assert page.evaluate("document.body.dataset.jpThemeLight") == str(theme == "Light").lower()
    outputs = page.locator(".jp-OutputArea-output .datapkg")
    assert outputs.count() == 3
    assert outputs.nth(1).locator("table.dp-grid th", has_text="bill_length_mm").is_visible()
    assert page.get_by_role("link", name="Ecological sexual dimorphism").first.is_visible()
    assert page.get_by_text("examples/penguins", exact=False).first.is_visible()
    assert page.get_by_text("objects · done in").is_visible()
    assert page.locator("progress").count() == 0
    assert page.get_by_text("never", exact=True).count() == 0  # the failed cell above stopped the run
    assert page.get_by_text("Traceback").count() == 0
    assert page.evaluate(contrast_of_this_page()) > 4.5
    assert page.evaluate("window.hit") is None
    assert page.locator(".datapkg script, .datapkg img").count() == 0
    assert not [each for each in found.messages if each.startswith("dialog") or "datapkg" in each]


def contrast_of_this_page() -> str:
    return CONTRAST.replace("document.body", "document.querySelector('.jp-NotebookPanel-notebook')")


def test_names_complete_in_the_notebook(running: Lab) -> None:
    running.write(
        "c.ipynb", "%load_ext datapkg\nfrom datapkg.data.examples import penguins; 'ready'", "penguins.sizes['bill_l"
    )
    with browser() as chromium:
        found = watched(chromium, 1_200)
        page = found.page
        page.set_default_timeout(60_000)
        page.goto(running.page("c.ipynb"))
        page.get_by_text("| Idle").wait_for()
        page.locator(".jp-Cell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.locator(".jp-OutputArea-output", has_text="ready").wait_for()
        page.locator(".jp-Cell .cm-content").nth(1).click()
        page.keyboard.press("End")
        page.keyboard.press("Tab")
        page.locator(".jp-Completer-item", has_text="bill_length_mm").wait_for()
