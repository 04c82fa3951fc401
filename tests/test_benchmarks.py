"""The benchmarks run: each with the smallest size it has, and without the peers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
QUESTIONS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
WITH_PEERS = {"csv_to_package", "edit_peers", "lazy_peers", "listing", "load_peers", "many_files", "transfer"}
QUICK = {"csv_to_package", "packs"}
CASES = [pytest.param(each, marks=[] if each in QUICK else pytest.mark.big) for each in QUESTIONS]


@pytest.mark.parametrize("question", CASES)
@pytest.mark.timeout(600)
def test_benchmark_runs(question: str, tmp_path: Path) -> None:
    more = ["--without-peers"] if question in WITH_PEERS else []
    command = [sys.executable, str(FOLDER / f"{question}.py"), "--size", "tiny", "--results", str(tmp_path), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / f"{question}.json").read_text())
    assert all(row["what"] for row in result["rows"])
    assert {"datapkg", "pyarrow", "python"} <= set(result["versions"])


def test_figures_in_the_documents_are_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    readme = importlib.import_module("_readme")
    places = 0
    for page in readme.PAGES:
        text = page.read_text()
        assert readme.filled(text) == text, f"{page.name}: python benchmarks/_readme.py"
        places += len(readme.PLACE.findall(text))
    assert places == sum(page.read_text().count("<!-- bench: ") for page in readme.PAGES) >= 10
