"""Garbage in any argument of any command ends in a clean error or is accepted as literal text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Run
from tests.cli.test_main import ALL
from tests.live_registry import LiveRegistry

HOLE = "…"
GARBAGE = {
    "empty": "",
    "blank": " ",
    "nul": "a\x00b",
    "surrogate": "\udc80\udcff",
    "escape": "\x1b[2J\x1b]0;title\x07",
    "right to left": "\u202efdp.exe",
    "line ends": "a/b\nhint: rm -rf /",
    "long": "a" * 100_000,
    "long path": "a/" * 50_000,
    "long ref": "a/b/" + "c" * 100_000,
    "long digits": "9" * 10_000,
    "upward": "../../../nowhere",
    "ref upward": "a/b/../../c",
    "at": "@",
    "at end": "a/b@",
    "hash": "a/b@sha256:zz",
    "percent": "%40%00%zz%s%n{0}{x}",
    "address": "https://[::1",
    "address 2": "http://user:secret@host/a/b?c#d",
    "colons": ":::",
    "quotes": "'\"`$(true);|&",
    "markup": "[red]x[/red]<b>&amp;",
    "other letters": "日本 ünïcödé 🐟",
    "dashes": "--no-such-option",
    "dash": "-",
    "number": "-1e999",
    "json": '{"a": [1, 2',
    "brackets": "[" * 20_000,
}
TEMPLATES = """\
check …|generate …|build …|build … x|build u/p …|build u/p x -m …|build u/p x --from …|build u/p x --jobs …
build u/p x --on …|build u/p x --push -t …|build u/p x --push -v …|build u/p x --push --registry …
build u/p x --on dask --objects …|config objects …|graph …|graph x --format …|runs …
add …|add u/p --group …|add u/p --registry …|remove …|remove u/p --group …|update …|update --registry …
outdated --registry …|install --group …|install --no-group …|lock --observed …
version yank …|version yank u/p@1 -m …|version yank u/p@1 --registry …|version unyank …
version unyank u/p@1 --registry …|add u/p --jobs …|add u/p --bwlimit …|add u/p --max-time …
update --jobs …|update --bwlimit …|update --max-time …
push …|push u/p -m …|push u/p -t …
push u/p -v …|push u/p --onto …|push u/p --registry …|install …|install u/p …|install u/p -x …|install u/p -t …
install u/p -v …|install -r …|install u/p --registry …|lock --registry …|show …|show u/p/…|status …|status u/p …
show u/p@…|log …|log u/p --registry …|tag add … t|tag add u/p …|tag add u/p t --registry …|tag add u/p t --state …
tag rm … t|tag rm u/p …|tag rm u/p t --registry …|tag ls …|tag ls u/p --registry …|version add … 1
version add u/p …|version add u/p 1 --registry …|version add u/p 1 --state …|version ls …|version ls u/p --registry …
access add … bob|access add u/p …|access add u/p bob --registry …|access rm … bob|access rm u/p …
access rm u/p bob --registry …|access ls …|access ls u/p --registry …|export … x|export u/p …
export u/p x --format …|cat …|cat u/p/…|rm …|delete … --yes|delete u/p --yes --registry …
login --token …|login --token dpk_x --registry …|logout --registry …|whoami --registry …|search …
search x --registry …|config …|config … x|config registry …|config registries.x …
config registries.… https://x.example|config timeout_s …|config path …|config --unset …|verify …
cache warm …|cache rm …|fetch …|fetch u/p/…|fetch u/p --include …|fetch u/p --exclude …|fetch u/p --max-size …
fetch u/p --registry …|install u/p --include …|install u/p --exclude …|install u/p --max-size …
append … x|append u/p …|append u/p x --to …|append u/p x -m …|append u/p x --registry …
edit … --remove x|edit u/p --remove …|edit u/p --move x …|edit u/p --remove x -m …|edit u/p --remove x --registry …
cache keep …|cache share …|cache share x --group …|bundle … -o x.dpkg|bundle u/p -o …|export u/p x --link …
fetch u/p --part …|install u/p --part …|log u/p -n …|log u/p --cursor …|append u/p x --jobs …
append u/p x --bwlimit …|append u/p x --max-time …|edit u/p --remove x --jobs …|edit u/p --remove x --bwlimit …
edit u/p --remove x --max-time …|fetch u/p --jobs …|fetch u/p --bwlimit …|fetch u/p --max-time …
install u/p --jobs …|install u/p --bwlimit …|install u/p --max-time …|push u/p --jobs …|push u/p --bwlimit …
push u/p --max-time …|sync x u/p --jobs …|sync x u/p --bwlimit …|sync x u/p --max-time …
cat u/p/x --registry …|ls --registry …|show u/p --registry …
verify --registry …|mirror … x|mirror ./x …|mirror ./x ./y …
cp … u/z|cp u/p …|cp u/p u/z -m …|cp nobody/x u/z --registry …|init …
sync … u/p|sync x …|sync x u/p --to …|sync x u/p -m …|sync x u/p -t …|sync x u/p -v …|sync x u/p --registry …
merge … -o u/z|merge u/p -o …|merge u/p -o u/z --on-conflict …|merge u/p -o u/z -m …|merge nobody/x -o u/z --registry …
mount … x|mount nobody/nothing …|mount nobody/nothing x --registry …|unmount …
import-from … x|import-from dvc …|import-from dvc . -o …
gc --keep …|gc --older-than …|gc --max-size …|gc --registry …|gc --store …|completion …|help …
stubs --into …|stubs --check --into …|tag …|…""".replace("|", "\n").splitlines()
TERMINAL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def ready(run: Run, iris: Path, registry: LiveRegistry, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Create a home with a package, and a registry without users, so that garbage gets as far as possible."""
    assert run("build", "u/p", str(iris)).code == 0
    monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
    return run


@pytest.mark.parametrize(
    "template",
    [pytest.param(each, marks=pytest.mark.big if number % 8 else []) for number, each in enumerate(TEMPLATES)],
)
def test_garbage_ends_cleanly(ready: Run, template: str) -> None:
    for what, text in GARBAGE.items():
        words = [word.replace(HOLE, text) for word in template.split(" ")]
        ended = ready(*words)
        where = f"{template} with {what}: {ended.code} {ended.out[:500]} {ended.err[:2000]}"
        assert 0 <= ended.code <= 9, where
        assert "Traceback" not in ended.err, where
        assert "bug in datapkg" not in ended.err, where
        assert not TERMINAL.search(ended.out + ended.err), where
        if ended.code:
            assert ended.err.startswith("error: "), where
            assert len(ended.err) < 10_000, where
            assert ended.err.count("\nhint: ") <= 1, where
        as_json = ready("--json", *words)
        if as_json.code:
            assert json.loads(as_json.err)["error"].keys() == {"code", "message", "hint", "detail"}, where


def test_every_argument_has_a_template() -> None:
    for words, command in ALL.items():
        if isinstance(command, click.Group):
            continue
        lines = [line.split(" ") for line in TEMPLATES if tuple(line.split(" ")[: len(words)]) == words]
        for param in command.params:
            takes_text = isinstance(param, click.Argument) or not getattr(param, "is_flag", True)
            if isinstance(param, click.Option) and takes_text:
                wanted = set(param.opts)
                assert any(wanted & set(line) and HOLE in line[-1] for line in lines), (words, param.opts)
            elif takes_text:
                assert any(any(HOLE in word for word in line) for line in lines), (words, param.name)
