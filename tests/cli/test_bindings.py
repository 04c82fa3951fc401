"""Every flag of every command reaches a parameter of its API function (Quilt's case 100)."""

from __future__ import annotations

import importlib
import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from datapkg.api import (
    accounts,
    append,
    build,
    build_and_push,
    bundle,
    cache,
    cat,
    check,
    copy,
    edit,
    export,
    fetch_pins,
    gc,
    graph,
    history,
    import_from,
    install,
    listing,
    lock,
    lock_registry,
    log,
    maintenance,
    merge,
    mirror,
    mount,
    observed_script,
    push,
    requirements,
    search,
    sharing,
    status,
    stubs,
    sync,
    tracking,
    verify,
    watch,
)
from datapkg.building.spec.options import BuildOptions
from datapkg.cli.command import SWITCHES
from datapkg.errors import DatapkgError
from datapkg.format.names import Ref
from datapkg.format.selection import EVERYTHING, Selection
from datapkg.settings import UserSettings
from datapkg.store.gc import Policy
from tests.cli.conftest import Run
from tests.cli.test_main import ALL

MODULES: tuple[ModuleType, ...] = (
    *(
        accounts,
        build,
        bundle,
        cache,
        cat,
        check,
        copy,
        edit,
        export,
        history,
        install,
        listing,
        lock,
        log,
        maintenance,
        mirror,
        mount,
        push,
    ),
    *(search, sharing, status, stubs, append, merge, sync, watch, gc, verify),
    *(build_and_push, fetch_pins, graph, import_from, lock_registry, observed_script, requirements, tracking),
)
ELSEWHERE = {
    "--background",  # starts its own process: tested with real mounts
    "--push-cache",  # calls two functions: tested in tests/cli/test_stages.py
    *("--jobs", "--bwlimit", "--max-time"),  # settings for one command, not arguments: tested in tests/remote
}
HASH = "1f3a9c" * 3
REF = Ref.parse("a/b")

# A command line, the API function it calls, and the arguments it passes.
LINES: list[tuple[str, str, dict[str, Any]]] = [
    ("check", "check.check", {"source": Path(), "options": BuildOptions()}),
    (
        "check data --allow-outside --allow-code --force",
        "check.check",
        {"source": Path("data"), "options": BuildOptions(allow_outside=True, allow_code=True, force=True)},
    ),
    ("generate data", "build.generate", {"directory": Path("data"), "gitignore": True}),
    ("generate data --no-gitignore", "build.generate", {"gitignore": False}),
    (
        "build a/b data --no-gitignore --allow-empty --keep-going",
        "build.build_package",
        {"options": BuildOptions(gitignore=False, allow_empty=True, keep_going=True)},
    ),
    (
        "build a/b data",
        "build.build_package",
        {"ref": REF, "source": Path("data"), "options": BuildOptions(), "message": ""},
    ),
    (
        "build a/b x.yml --no-build-file --allow-outside -m why",
        "build.build_package",
        {"options": BuildOptions(build_file=False, allow_outside=True), "message": "why", "explained": False},
    ),
    ("build a/b data --update", "build.build_package", {"source": Path("data"), "options": BuildOptions(update=True)}),
    (
        "build a/b https://x.example/r.git@v1#data --allow-code",
        "build.build_package",
        {"source": "https://x.example/r.git@v1#data", "options": BuildOptions(allow_code=True)},
    ),
    (
        "build a/b data --force --explain --dry-run",
        "build.build_package",
        {"options": BuildOptions(force=True, dry_run=True), "explained": True},
    ),
    (
        "build a/b data --from train --from test --jobs 4",
        "build.build_package",
        {"options": BuildOptions(again=("train", "test"), jobs=4)},
    ),
    ("build a/b data --pull-cache", "build.build_package", {"options": BuildOptions(pull_cache=True)}),
    (
        "build a/b data --on dask --objects s3://b/o",
        "build.build_package",
        {"options": BuildOptions(on="dask", objects="s3://b/o")},
    ),
    (
        "build a/b data --push --explain --tag nightly --version 1.2 --public --registry work",
        "build_and_push.build_and_push",
        {
            "ref": REF,
            "source": Path("data"),
            "explained": True,
            "registry": "work",
            "names": {"tag": "nightly", "version": "1.2", "public": True},
        },
    ),
    (
        "import-from dvc data -o data/x.yml --force",
        "import_from.import_from",
        {"form": "dvc", "source": Path("data"), "target": Path("data/x.yml"), "overwrite": True},
    ),
    ("graph data --format svg", "graph.graph", {"source": Path("data"), "form": "svg"}),
    ("runs", "tracking.list_runs", {"folder": Path("runs")}),
    ("runs data", "tracking.list_runs", {"folder": Path("data")}),
    ("status", "status.statuses", {"ref": None, "source": None}),
    ("status --upstream", "status.statuses", {"upstream": True}),
    ("status a/b data", "status.statuses", {"ref": REF, "source": Path("data")}),
    (
        "push a/b",
        "push.push_package",
        {"ref": REF, "public": False, "force": False, "confirm": False, "dry_run": False},
    ),
    (
        "push a/b@1.0 --public -m why -t stable -v 1.2 --onto 1f3a9c --force --yes --dry-run --registry work",
        "push.push_package",
        {
            "ref": Ref.parse("a/b@1.0"),
            "public": True,
            "message": "why",
            "tag": "stable",
            "version": "1.2",
            "parent": "1f3a9c",
            "force": True,
            "confirm": True,
            "dry_run": True,
            "registry": "work",
        },
    ),
    (
        "append a/b x.csv y",
        "append.append",
        {"ref": REF, "files": (Path("x.csv"), Path("y")), "options": append.AppendOptions()},
    ),
    (
        "append a/b x.csv --to raw/new --replace -m why --no-push --no-checks --registry work",
        "append.append",
        {"options": append.AppendOptions("raw/new", True, "why", push=False, registry="work", checks=False)},
    ),
    ("append a/b x --dry-run", "append.append", {"options": append.AppendOptions(dry_run=True)}),
    (
        "edit a/b --remove x --remove y/z --move c d/e --move f g",
        "edit.edit",
        {"ref": REF, "remove": ("x", "y/z"), "move": (("c", "d/e"), ("f", "g"))},
    ),
    ("edit a/b --remove x -m why --no-push --no-checks --registry work", "edit.edit", {"move": ()}),
    ("sync data a/b", "sync.sync", {"folder": Path("data"), "ref": REF, "options": sync.SyncOptions()}),
    (
        "sync data a/b --to raw --delete --allow-empty -m why -t stable -v 1.2 --dry-run --no-checks --registry work",
        "sync.sync",
        {"options": sync.SyncOptions("raw", True, True, "why", True, "work", "stable", "1.2", checks=False)},
    ),
    (
        "sync data a/b --watch --delete",
        "watch.watch",
        {"folder": Path("data"), "ref": REF, "options": sync.SyncOptions(delete=True)},
    ),
    (
        "merge a/b c/d/e@1.0 -o me/z",
        "merge.merge",
        {"refs": (REF, Ref.parse("c/d/e@1.0")), "into": Ref.parse("me/z"), "options": merge.MergeOptions()},
    ),
    (
        "merge a/b -o me/z --on-conflict rename --concat -m why --no-checks --registry work",
        "merge.merge",
        {"options": merge.MergeOptions("rename", concat=True, message="why", registry="work", checks=False)},
    ),
    ("merge a/b -o me/z --dry-run", "merge.merge", {"options": merge.MergeOptions(dry_run=True)}),
    ("bundle a/b -o x.dpkg --force", "bundle.write_bundle", {"refs": (REF,), "dest": Path("x.dpkg"), "force": True}),
    (
        "install a/b c/d@1.0",
        "install.install_packages",
        {"refs": [REF, Ref.parse("c/d@1.0")], "selection": EVERYTHING, "registry": None, "replace": False},
    ),
    (f"install a/b -x {HASH}", "install.install_packages", {"refs": [Ref.parse(f"a/b@sha256:{HASH}")]}),
    (f"install a/b -x sha256:{HASH}", "install.install_packages", {"refs": [Ref.parse(f"a/b@sha256:{HASH}")]}),
    ("install a/b -t stable", "install.install_packages", {"refs": [Ref.parse("a/b@stable")]}),
    ("install work:a/b/c -v 1.2", "install.install_packages", {"refs": [Ref.parse("work:a/b/c@1.2")]}),
    (
        "install a/b --meta-only --replace --registry work",
        "install.install_packages",
        {"selection": Selection(meta_only=True), "replace": True, "registry": "work"},
    ),
    (
        "install a/b --include x/** --include y --exclude *.csv --max-size 1.5kB",
        "install.install_packages",
        {"selection": Selection(("x/**", "y"), ("*.csv",), 1500)},
    ),
    (
        "install a/b --part 0/4 --dry-run",
        "install.install_packages",
        {"selection": Selection(part=(0, 4)), "dry_run": True},
    ),
    (
        "fetch a/b --part 3/4 --dry-run",
        "install.fetch_packages",
        {"selection": Selection(part=(3, 4)), "dry_run": True},
    ),
    (
        "fetch a/b/c --include x --exclude y --max-size 1MiB --registry work",
        "install.fetch_packages",
        {"refs": (Ref.parse("a/b/c"),), "selection": Selection(("x",), ("y",), 1 << 20), "registry": "work"},
    ),
    ("install", "lock.install_locked", {"frozen": False, "requirements": None, "replace": False}),
    (
        "install --frozen -r req.yml --replace --registry work",
        "lock.install_locked",
        {"frozen": True, "requirements": Path("req.yml"), "replace": True, "registry": "work"},
    ),
    ("install --group dev --no-group docs", "lock.install_locked", {"groups": ("dev",), "no_groups": ("docs",)}),
    ("fetch --installed", "fetch_pins.fetch_pins", {"dry_run": False}),
    (
        "add a/b c/d@1.0 --group dev --no-install --dry-run --registry work",
        "requirements.add_requirements",
        {
            "refs": (REF, Ref.parse("c/d@1.0")),
            "options": requirements.AddOptions("dev", "work", install=False, dry_run=True),
        },
    ),
    (
        "remove a/b --group dev --dry-run",
        "requirements.remove_requirements",
        {"packages": (REF,), "group": "dev", "dry_run": True},
    ),
    (
        "update a/b --no-install --dry-run --registry work",
        "requirements.update_requirements",
        {"packages": (REF,), "options": requirements.AddOptions("", "work", install=False, dry_run=True)},
    ),
    ("outdated --check --registry work", "requirements.outdated_requirements", {"registry": "work"}),
    ("lock", "lock.write_lock", {"renew": (), "registry": None, "dry_run": False}),
    (
        "lock --update --dry-run --registry work",
        "lock.write_lock",
        {"renew": None, "registry": "work", "dry_run": True},
    ),
    ("lock --check --registry work", "requirements.check_lock", {"registry": "work"}),
    ("lock --registry old=new", "lock_registry.move_registry", {"text": "old=new"}),
    (
        "lock --observed x.py --epochs 3",
        "observed_script.lock_script",
        {"script": Path("x.py"), "arguments": ("--epochs", "3"), "dry_run": False},
    ),
    ("ls", "listing.list_packages", {}),
    ("ls --remote", "search.search", {"query": "", "registry": None}),
    ("ls --registry work", "search.search", {"query": "", "registry": "work"}),
    ("show a/b", "listing.show", {"ref": REF, "remote": False, "registry": None}),
    ("show a/b --remote --registry work", "listing.show", {"remote": True, "registry": "work"}),
    ("log a/b", "log.log_page", {"ref": REF, "remote": None, "registry": None, "changes": False, "limit": 100}),
    ("log a/b@1.0 --changes", "log.log_page", {"ref": Ref.parse("a/b@1.0"), "changes": True}),
    ("log a/b --local", "log.log_page", {"remote": False}),
    ("log a/b --remote --registry work", "log.log_page", {"remote": True, "registry": "work"}),
    ("log a/b -n 3 --cursor x~1", "log.log_page", {"limit": 3, "cursor": "x~1"}),
    ("log a/b --all", "log.log_page", {"limit": None, "cursor": ""}),
    ("log a/b --graph", "log.log_page", {"limit": 100}),
    ("search some words --registry work", "search.search", {"query": "some words", "registry": "work"}),
    (
        "tag add a/b stable --registry work",
        "history.state_to_name",
        {"ref": REF, "kind": "tag", "name": "stable", "registry": "work"},
    ),
    ("tag add a/b stable --state sha256:1f3a9c", "history.state_to_name", {"ref": Ref.parse("a/b@sha256:1f3a9c")}),
    ("tag rm a/b stable --registry work", "history.remove_tag", {"ref": REF, "tag": "stable", "registry": "work"}),
    ("tag ls a/b --registry work", "history.tags", {"ref": REF, "registry": "work"}),
    (
        "version add a/b 1.0 --registry work",
        "history.state_to_name",
        {"ref": REF, "kind": "version", "name": "1.0", "registry": "work"},
    ),
    ("version add a/b 1.0 --state 1f3a9c", "history.state_to_name", {"ref": Ref.parse("a/b@sha256:1f3a9c")}),
    ("version ls a/b --registry work", "history.versions", {"ref": REF, "registry": "work"}),
    (
        "version yank a/b@1.0 -m why --registry work",
        "history.set_yanked",
        {"ref": Ref.parse("a/b@1.0"), "reason": "why", "registry": "work"},
    ),
    ("version unyank a/b@1.0 --registry work", "history.set_yanked", {"reason": None, "registry": "work"}),
    ("access add a/b bob --registry work", "sharing.grant", {"who": "bob", "confirm": False, "registry": "work"}),
    ("access add a/b public --yes", "sharing.grant", {"who": "public", "confirm": True}),
    ("access add a/b bob --write", "sharing.grant", {"who": "bob", "write": True}),
    ("access rm a/b bob --registry work", "sharing.revoke", {"who": "bob", "registry": "work"}),
    ("access ls a/b --registry work", "sharing.access", {"ref": REF, "registry": "work"}),
    ("login --token dpk_x --registry work", "accounts.login", {"token": "dpk_x", "registry": "work"}),
    ("logout --registry work", "accounts.logout", {"registry": "work"}),
    ("whoami --registry work", "accounts.whoami", {"registry": "work"}),
    (
        "export a/b out --force --format csv --with-build-file",
        "export.export",
        {"ref": REF, "dest": Path("out"), "force": True, "format": "csv", "with_build_file": True},
    ),
    ("export a/b out --link symlink", "export.export", {"link": "symlink"}),
    ("cat a/b/c", "cat.cat", {"ref": Ref.parse("a/b/c"), "as_json": False}),
    ("cat a/b/c --remote --registry work", "cat.cat", {"remote": True, "registry": "work"}),
    ("cat a/b/c --json", "cat.cat", {"ref": Ref.parse("a/b/c"), "as_json": True}),
    ("rm a/b", "maintenance.remove", {"ref": REF, "now": False, "dry_run": False}),
    ("rm a/b --dry-run --now", "maintenance.remove", {"ref": REF, "now": True, "dry_run": True}),
    ("rm --now", "maintenance.free_left", {}),
    (
        "cp a/b c/d -m text --registry work",
        "copy.copy",
        {"ref": REF, "into": Ref.parse("c/d"), "message": "text", "registry": "work"},
    ),
    ("delete a/b --yes --registry work", "maintenance.delete", {"ref": REF, "registry": "work"}),
    ("delete a/b --dry-run --registry work", "log.log", {"remote": True, "registry": "work"}),
    ("verify", "verify.verify", {"ref": None, "content": False, "repair": False}),
    ("verify --registry work a/b", "verify.verify_registry", {"registry": "work", "ref": REF}),
    (
        "mirror work ./x a/b --dry-run",
        "mirror.mirror",
        {"source": "work", "target": "./x", "refs": (REF,), "dry_run": True},
    ),
    ("verify --all --repair", "verify.verify", {"ref": None, "repair": True}),
    ("gc --yes", "gc.free_space", {"policy": Policy(), "dry_run": False}),
    (
        "gc --registry work --now --dry-run",
        "gc.free_registry",
        {"registry": "work", "now": True, "dry_run": True},
    ),
    (
        "gc --store x --older-than 90d --dry-run",
        "gc.free_shared",
        {"folder": Path("x"), "policy": Policy(older_than_s=90 * 86_400), "dry_run": True},
    ),
    ("gc --dry-run", "gc.free_space", {"policy": Policy(), "dry_run": True}),
    (
        "gc --keep 3 --older-than 90d --max-size 20GB --now --yes",
        "gc.free_space",
        {"policy": Policy(3, 90 * 86_400, 20 * 10**9, True)},
    ),
    ("verify --content a/b", "verify.verify", {"ref": REF, "content": True}),
    ("config registry https://x.example", "settings.set", {"name": "registry", "text": "https://x.example"}),
    ("config --unset registry", "settings.set", {"name": "registry", "text": None}),
    ("cache warm a/b/c", "cache.warm_tables", {"ref": Ref.parse("a/b/c")}),
    ("cache ls", "cache.list_cache", {}),
    ("cache du", "cache.disk_usage", {}),
    ("cache keep a/b", "cache.keep_state", {"ref": REF, "remove": False}),
    ("cache keep a/b --remove", "cache.keep_state", {"ref": REF, "remove": True}),
    ("cache share x --group y", "cache.share_store", {"folder": Path("x"), "group": "y"}),
    ("cache rm", "cache.remove_copies", {"ref": None, "dry_run": False}),
    ("cache rm a/b --dry-run", "cache.remove_copies", {"ref": REF, "dry_run": True}),
    (
        "mount a/b here --lazy --registry work --allow-other",
        "mount.mount",
        {"ref": REF, "folder": Path("here"), "lazy": True, "registry": "work", "allow_other": True},
    ),
    ("unmount here --force", "mount.unmount", {"folder": Path("here"), "force": True}),
    ("stubs --into x", "stubs.write_stubs", {"into": Path("x"), "dry_run": False}),
    ("stubs --lock", "stubs.write_stubs", {"locked": True}),
    ("stubs --check", "stubs.write_stubs", {"into": None, "dry_run": True}),
    ("stubs --dry-run", "stubs.write_stubs", {"dry_run": True}),
    ("init here", "lock.start_project", {"folder": Path("here")}),
    ("init here --git-hooks", "lock.start_project", {"folder": Path("here")}),
    ("completion bash", "", {}),
    ("help build", "", {}),
]


class Bound(DatapkgError):
    """Raised instead of the work of an API function, after it was called with valid arguments."""

    exit_code = 77


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Record which API functions are called with which arguments; none of them does anything."""
    found: list[tuple[str, dict[str, Any]]] = []
    for module in MODULES:
        room = module.__name__.rpartition(".")[2]
        for name, verb in inspect.getmembers(module, inspect.isfunction):
            if verb.__module__ == module.__name__ or name in getattr(module, "__all__", []):
                monkeypatch.setattr(module, name, _recorded(f"{room}.{name}", verb, found))
    monkeypatch.setattr(UserSettings, "set", _recorded("settings.set", UserSettings.set, found))
    return found


def _recorded(name: str, verb: Callable[..., Any], found: list[tuple[str, dict[str, Any]]]) -> Callable[..., Any]:
    signature = inspect.signature(verb)

    def record(*args: Any, **options: Any) -> None:
        found.append((name, signature.bind(*args, **options).arguments))
        raise Bound("done")

    return record


@pytest.mark.parametrize(("line", "verb", "given"), LINES, ids=[line for line, _, _ in LINES])
def test_command_calls_its_api_function(
    run: Run, calls: list[tuple[str, dict[str, Any]]], line: str, verb: str, given: dict[str, Any]
) -> None:
    ended = run(*shlex.split(line))
    assert [name for name, _ in calls] == ([verb] if verb else []), ended.err
    assert ended.code == (77 if verb else 0)
    for name, value in given.items():
        assert calls[0][1].get(name) == value, name


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_is_tested(words: tuple[str, ...]) -> None:
    command = ALL[words]
    if isinstance(command, click.Group):
        return
    tried = [shlex.split(line) for line, _, _ in LINES if tuple(shlex.split(line)[: len(words)]) == words]
    assert tried, f"{words} is not tested"
    options = [each for each in command.params if isinstance(each, click.Option) and each.name not in SWITCHES]
    for option in options:
        names = {*option.opts, *option.secondary_opts}
        assert names & ELSEWHERE or any(names & set(line) for line in tried), option.opts


def test_modules_cover_the_api() -> None:
    folder = Path(inspect.getfile(importlib.import_module("datapkg.api"))).parent
    there = {path.stem for path in folder.glob("*.py")} - {"__init__", "results"}
    used = {module.__name__.rpartition(".")[2] for module in MODULES}
    assert used <= there
