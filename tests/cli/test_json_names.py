"""Names in --json output follow one style, as documented in docs/json.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cli.conftest import Person, changed

HASH = re.compile(r"[0-9a-f]{64}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
NOT_OURS = {"record", "meta", "message", "note"}  # written by a build or publisher, or free text


def faults(value: Any, key: str, place: str) -> Iterator[str]:
    """Yield the names that violate the style in a JSON value at a path."""
    if isinstance(value, dict):
        if key in ("tags", "versions"):
            yield f"{place} is a mapping"
        for name, each in value.items():
            if name not in NOT_OURS:
                yield from faults(each, name, f"{place}.{name}")
    elif isinstance(value, list):
        for each in value:
            if key in ("tags", "versions") and (
                not isinstance(each, dict) or {*each} - {"yanked"} != {"name", "hash", "created_at"}
            ):
                yield f"{place} has {each}"
            yield from faults(each, "" if isinstance(each, dict) else key, place)
    elif isinstance(value, str):
        if HASH.match(value) and key != "hash":
            yield f"{place} is a hash"
        if TIME.match(value) and not key.endswith("_at"):
            yield f"{place} is a time"
        if key.endswith("_at") and value and not TIME.match(value):
            yield f"{place} is no time"


def test_names_follow_one_style(ada: Person, flowers: str, iris: Path, tmp_path: Path) -> None:
    changed(ada, flowers, iris)
    Path("datapkg.yml").write_text(f"packages: ['{flowers}@1.0']\n")
    lines = [
        *("ls", f"show {flowers}", f"show {flowers}/flowers", f"log {flowers} --changes", f"log {flowers} --local"),
        *(f"tag ls {flowers}", f"version ls {flowers}", f"tag add {flowers} good", f"version add {flowers} 2.0"),
        *("search flowers", f"push {flowers} --dry-run", f"push {flowers}", f"status {flowers}", "lock", "install"),
        *(f"install {flowers}", f"fetch {flowers}", f"export {flowers} {tmp_path / 'out'}", f"access ls {flowers}"),
        *(
            "verify",
            "whoami",
            "config",
            f"cache warm {flowers}",
            "cache ls",
            "cache rm",
            f"stubs --into {tmp_path / 't'}",
        ),
        *(f"build {ada.name}/built {iris} --explain", f"sync {iris} {ada.name}/followed", f"rm {flowers} --dry-run"),
        *(f"merge {flowers} -o {ada.name}/merged", f"append {ada.name}/built {iris / 'picture.bin'} --to a --no-push"),
        *(f"edit {ada.name}/built --move a b --no-push", f"show {flowers} --remote", "ls --remote"),
        *(f"delete {flowers} --dry-run", f"delete {flowers} --yes"),
    ]
    for line in lines:
        ended = ada(*line.split(), "--json")
        assert ended.code == 0, (line, ended.err)
        assert list(faults(ended.json, "", line.split()[0])) == [], line


def test_style_violations_are_detected() -> None:
    wrong = {"at": "2026-01-01T00:00:00", "latest": "a" * 64, "tags": {"x": "y"}, "versions": ["1"], "pushed_at": "now"}
    assert len(list(faults(wrong, "", ""))) == 5


def test_every_command_is_in_the_reference() -> None:
    from datapkg.cli.main import COMMANDS

    text = Path(__file__).parents[2].joinpath("docs/json.md").read_text()
    reported = set(
        re.findall(r"`([a-z-]+)", "\n".join(line.split("|")[1] for line in text.splitlines() if line[:2] == "| "))
    )
    silent = {"completion", "generate", "help", "logout", "mount", "unmount"}
    assert reported | silent >= COMMANDS.keys()
