"""The schedules that docs/recipes.md shows are run as their programs run them: cron, systemd, GitLab and GitHub."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from datapkg.format.names import Ref
from tests.conftest import Person
from tests.live_registry import ROOT

BLOCK = re.compile(r"^```\w+\n# (?P<name>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
# What cron and systemd give a job: next to nothing.
THIN = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "weather"}


def block(start: str) -> str:
    """Return the text of the block whose first line, a comment, begins so."""
    found = {match["name"]: match["text"] for match in BLOCK.finditer((ROOT / "docs" / "recipes.md").read_text())}
    return next(text for name, text in found.items() if name.startswith(start))


class Recipe:
    """The folder of a recipe with a virtual environment, and what stands for the paths and names of the page."""

    def __init__(self, person: Person, folder: Path) -> None:
        self.person, self.folder, self.etc = person, folder / "weather", folder / "etc"
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        self.etc.mkdir()
        (programs / "datapkg").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m datapkg "$@"\n')
        (programs / "datapkg").chmod(0o755)
        (self.folder / "build.yml").write_text("contents: {days: {file: days.csv}}\n")
        (self.etc / "token").write_text(f"{person.token}\n")
        (self.etc / "weather.env").write_text(f"DATAPKG_REGISTRY={person.url}\nDATAPKG_TOKEN={person.token}\n")
        self.day(4)

    def day(self, degrees: int) -> None:
        (self.folder / "days.csv").write_text(f"day,degrees\n1,{degrees}\n")

    def here(self, text: str) -> str:
        """Return a text of the page with the paths, the package and the registry of this test."""
        names = {
            "/srv/weather": str(self.folder),
            "/etc/datapkg": str(self.etc),
            "me/weather": f"{self.person.name}/weather",
            "https://data.example.org": self.person.url,
        }
        for name, place in names.items():
            text = text.replace(name, place)
        return text

    def run(self, command: list[str], environ: Mapping[str, str], folder: Path | None = None) -> str:
        home = {"HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env={**home, **environ}, cwd=folder, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def nightly(self) -> str:
        """Return the state that the tag names at the registry."""
        return self.person.home().client().resolve(Ref(self.person.name, "weather").at(None)).tags["nightly"]


@pytest.fixture
def recipe(person: Person, tmp_path: Path) -> Recipe:
    return Recipe(person, tmp_path)


def test_cron(recipe: Recipe) -> None:
    *variables, line = block("crontab").splitlines()
    environ = dict(recipe.here(each).split("=", 1) for each in variables)
    assert "%" not in line, "cron reads it as the end of the line"
    command = recipe.here(line.split(maxsplit=5)[5])
    assert re.fullmatch(r"[\d*]+( [\d*]+){4}", " ".join(line.split()[:5]))
    ran = [recipe.run(["/bin/sh", "-c", command], {**THIN, **environ}) for _ in range(2)]
    assert ran[0] == ran[1], "what --quiet prints: the state"
    first = recipe.nightly()
    recipe.day(5)
    recipe.run(["/bin/sh", "-c", command], {**THIN, **environ})
    assert recipe.nightly() != first
    assert len(list(recipe.person.home().client().log(Ref(recipe.person.name, "weather")))) == 2


def test_systemd(recipe: Recipe, tmp_path: Path) -> None:
    for kind in ("service", "timer"):
        text = recipe.here(block(f"/etc/systemd/system/weather.{kind}"))
        (tmp_path / f"weather.{kind}").write_text(text.replace("User=weather", "User=root"))
    if shutil.which("systemd-analyze"):
        paths = [str(tmp_path / f"weather.{kind}") for kind in ("service", "timer")]
        said = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
        assert not re.search(r"weather\.(service|timer):", said.stderr), said.stderr
    lines = (line.split("=", 1) for line in (tmp_path / "weather.service").read_text().splitlines() if "=" in line)
    service = dict(lines)
    environ = dict(line.split("=", 1) for line in Path(service["EnvironmentFile"]).read_text().splitlines())
    recipe.run(shlex.split(service["ExecStart"]), {**THIN, **environ}, Path(service["WorkingDirectory"]))
    assert recipe.nightly()


def expanded(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value of a workflow with `$NAME` and `${{ expression }}` replaced; raise `KeyError` for others."""
    if isinstance(value, dict):
        return {key: expanded(each, names) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    text = re.sub(r"\$\{\{ (.*?) \}\}", lambda match: names[match[1]], value)
    return re.sub(r"\$(\w+)", lambda match: names[match[1]], text)


def programs(recipe: Recipe) -> dict[str, str]:
    return {"PATH": f"{recipe.folder / '.venv' / 'bin'}:{os.environ['PATH']}"}


def test_gitlab(recipe: Recipe) -> None:
    job = yaml.safe_load(recipe.here(block(".gitlab-ci.yml")))["weather"]
    assert job.keys() == {"rules", "variables", "cache", "script"}
    environ = {
        **programs(recipe),
        "DATAPKG_TOKEN": recipe.person.token,
        **expanded(job["variables"], {"CI_PROJECT_DIR": str(recipe.folder)}),
    }
    for line in job["script"]:
        recipe.run(["/bin/sh", "-ec", line], environ, recipe.folder)
    assert recipe.nightly()
    for path in job["cache"]["paths"]:
        assert (recipe.folder / path / "store").is_dir(), "what is cached is where datapkg keeps its data"


def test_github(recipe: Recipe) -> None:
    workflow = yaml.safe_load(recipe.here(block(".github/workflows/weather.yml")))
    assert re.fullmatch(r"[\d*]+( [\d*]+){4}", workflow[True]["schedule"][0]["cron"]), "YAML 1.1 reads `on` as true"
    (job,) = workflow["jobs"].values()
    names = {"secrets.DATAPKG_TOKEN": recipe.person.token, "github.run_id": "7"}
    ran = 0
    for step in job["steps"]:
        if "run" in step:
            environ = {**programs(recipe), **expanded(job["env"], names), **expanded(step["env"], names)}
            recipe.run(["/bin/sh", "-ec", expanded(step["run"], names)], environ, recipe.folder)
            ran += 1
        else:
            assert re.fullmatch(r"actions/\w+@v\d+", step["uses"])
            cached = expanded(step.get("with", {}), names).get("path")
            assert cached in (None, job["env"]["DATAPKG_HOME"])
    assert ran == 1
    assert recipe.nightly()
    assert (recipe.folder / job["env"]["DATAPKG_HOME"] / "store").is_dir()
