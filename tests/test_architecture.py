"""Holds the floors of the house: reads every import, wherever it stands in a file, and says which way it points."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lowest first. A room imports from floors below its own, never from another room of its floor.
# "" is the package's own `__init__`: for datapkg the front door, over the rooms that it opens.
FLOORS: dict[str, list[set[str]]] = {
    "datapkg": [
        {"errors"},
        {"format"},
        {"objects"},
        {"tables"},
        {"store", "remote", "project", "code_folder", "wheel_pins"},
        {"settings"},
        {"home"},
        {"origins", "lock_search"},
        {"resolve"},
        {"building", "reading"},
        {"api", "data"},
        {""},
        {"cli"},
        {"__main__", "_pyinstaller", "pytest_plugin"},
    ],
    "registry_server": [{""}, {"settings"}, {"db", "workers"}, {"services"}, {"web"}, {"app"}, {"cli"}, {"__main__"}],
}
# The same inside a room: its folders and files, lowest first; "" is every file of the room that is not named.
SUB_FLOORS: dict[str, list[set[str]]] = {
    "datapkg.building": [{"readers"}, {"spec"}, {"sources"}, {"checks", "stages", "converters"}, {""}, {"cluster"}],
    "datapkg.remote": [{""}, {"static"}],
    "datapkg.reading": [
        {"seen_facts"},
        {"observers"},
        {"source"},
        {"missing", "opening", "tables"},
        {"protocols", "files"},
        {"adapters", "reprs"},
        {"nodes"},
        {""},
    ],
}
# Downward, and forbidden all the same: every read and write of `web` passes a service.
NEVER = {("registry_server.web", "registry_server.db")}
# All that one package may use of another; `tables` reads Parquet, which the registry does in child processes alone.
ACROSS = {("registry_server", "datapkg"): {"errors", "format", "objects"}, ("datapkg", "registry_server"): set()}
IN_WORKERS = ("registry_server.workers", "datapkg.tables")

READS_ENVIRONMENT = {"datapkg.cli.terminal", "datapkg.settings", "registry_server.settings"}
# The last one prints nothing: it asks for the encoding that a text is to have.
PRINTS = (
    "datapkg.cli",
    "registry_server.app",
    "registry_server.cli",
    "registry_server.__main__",
    "datapkg.reading.reprs.printing",
)
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "appdirs"}
OUTPUT = {"sys.stdout", "sys.stderr", "click.echo"}

# What a front door may not load before it is used, in whatever file its top-level imports lead to.
TOO_HEAVY = {
    *("duckdb", "numpy", "pandas", "polars", "pyarrow", "pydantic", "python_calamine", "requests", "rich", "urllib3"),
    *("concurrent.futures", "filelock", "pkgutil"),
}
LIGHT = {
    "datapkg": TOO_HEAVY | {"click", "msgspec", "yaml"},
    "datapkg.data": TOO_HEAVY | {"click", "msgspec", "yaml"},
    "datapkg.cli.main": TOO_HEAVY | {"msgspec", "yaml"},
    "datapkg.remote.http_client": TOO_HEAVY - {"requests", "urllib3"} | {"click", "packaging", "yaml"},
}
NAMES_OF_NOTHING = {"common", "helpers", "misc", "tools", "util", "utils"}


@dataclass(frozen=True)
class Use:
    """One import, or one dotted name, of a module; `target` is as long as it is known."""

    module: str
    line: int
    target: str
    when_loaded: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} uses {self.target}"


@dataclass(frozen=True)
class Tree:
    """The modules of both packages below a folder, parsed."""

    root: Path
    modules: dict[str, ast.Module]
    packages: frozenset[str]

    @classmethod
    def read(cls, root: Path) -> Tree:
        modules, packages = {}, set()
        for path in sorted(path for package in FLOORS for path in (root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
                packages.add(".".join(parts))
            modules[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"), str(path))
        return cls(root, modules, frozenset(packages))

    @cached_property
    def imports_by_module(self) -> dict[str, list[Use]]:
        return {module: list(self._imports_of(module, body, when_loaded=True)) for module, body in self.modules.items()}

    def imports(self) -> Iterator[Use]:
        for uses in self.imports_by_module.values():
            yield from uses

    def _imports_of(self, module: str, node: ast.AST, *, when_loaded: bool) -> Iterator[Use]:
        for child in ast.iter_child_nodes(node):
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_for_types(child)
            for target in self._targets(module, child):
                yield Use(module, child.lineno, target, when_loaded)  # type: ignore[attr-defined]
            yield from self._imports_of(module, child, when_loaded=when_loaded and not later)

    def _targets(self, module: str, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._absolute(module, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from (str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant))

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - (module in self.packages)
        base = module.split(".")[: len(module.split(".")) - up]
        return ".".join([*base, node.module] if node.module else base)

    def loaded_by(self, door: str) -> set[str]:
        """The modules of ours that are loaded when `door` is imported, parents first met included."""
        found: set[str] = set()
        todo = [door]
        while todo:
            module = todo.pop()
            parents = {".".join(module.split(".")[:end]) for end in range(1, module.count(".") + 2)}
            for each in (parents & self.modules.keys()) - found:
                found.add(each)
                todo += [self._module(use.target) for use in self.imports_by_module[each] if use.when_loaded]
        return found

    def nearest(self, target: str) -> str:
        """The module of ours that a dotted name of an import lies in, or nothing."""
        for each in (target, target.rpartition(".")[0]):
            if each in self.modules:
                return each
        return ""

    def _module(self, target: str) -> str:
        return target if target in self.modules else target.rpartition(".")[0]


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _dotted(node.test).split(".")[-1] == "TYPE_CHECKING"


def _dotted(node: ast.AST) -> str:
    """`a.b.c` as written, or nothing."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _room(target: str) -> tuple[str, str]:
    """The package and room that a dotted name of ours leads to: a name that is not a room comes from the front door."""
    package, _, rest = target.partition(".")
    room = rest.partition(".")[0]
    return package, room if any(room in floor for floor in FLOORS[package]) else ""


def _floor(package: str, room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS[package]) if room in floor)


def _is_constant(target: str) -> bool:
    """`datapkg.__version__` and its like bind nobody to the front door."""
    return target.count(".") == 1 and target.rpartition(".")[2].startswith("__") and not target.endswith("__main__")


def faults(tree: Tree) -> list[str]:
    """Everything in which a tree is not the house, a line each."""
    return sorted(
        {
            *_strangers(tree),
            *_arrows(tree),
            *_sub_arrows(tree),
            *_circles(tree),
            *_hidden_doors(tree),
            *_heavy_doors(tree),
        }
    )


def _strangers(tree: Tree) -> Iterator[str]:
    for module in tree.modules:
        package, *rest = module.split(".")
        if rest and not any(rest[0] in floor for floor in FLOORS[package]):
            yield f"{module} stands on no floor"
        if NAMES_OF_NOTHING & set(rest):
            yield f"{module} is named like a drawer"


def _arrows(tree: Tree) -> Iterator[str]:
    for use in tree.imports():
        if use.target.partition(".")[0] not in FLOORS or _is_constant(use.target):
            continue
        (here, room), (there, other) = _room(use.module), _room(use.target)
        if here != there:
            if (f"{here}.{room}", f"{there}.{other}") != IN_WORKERS and other not in ACROSS[here, there]:
                yield f"{use}: {here} may use {', '.join(sorted(ACROSS[here, there])) or 'nothing'} of {there}"
        elif (f"{here}.{room}", f"{there}.{other}") in NEVER:
            yield f"{use}: {room} never imports {other}"
        elif _floor(here, other) > _floor(here, room):
            yield f"{use}: upward"
        elif _floor(here, other) == _floor(here, room) and other != room:
            yield f"{use}: sideways"


def _sub_arrows(tree: Tree) -> Iterator[str]:
    """Imports between the folders and files of one room that point upward or sideways."""
    for use in tree.imports():
        for room, floors in SUB_FLOORS.items():
            here, there = _part(use.module, room, floors), _part(use.target, room, floors)
            if here is None or there is None or here == there:
                continue
            if _number(floors, there) > _number(floors, here):
                yield f"{use}: upward in {room}"
            elif _number(floors, there) == _number(floors, here):
                yield f"{use}: sideways in {room}"


def _part(target: str, room: str, floors: list[set[str]]) -> str | None:
    """The folder or file of a room that a dotted name leads to; None for a name outside of the room."""
    if not target.startswith(f"{room}."):
        return None
    part = target.removeprefix(f"{room}.").partition(".")[0]
    return part if any(part in floor for floor in floors) else ""


def _number(floors: list[set[str]], part: str) -> int:
    return next(number for number, floor in enumerate(floors) if part in floor)


def _circles(tree: Tree) -> Iterator[str]:
    """Files that import each other in a circle, imports inside functions included."""
    graph: dict[str, set[str]] = {module: set() for module in tree.modules}
    for use in tree.imports():
        target = tree.nearest(use.target)
        if target and target != use.module and not _is_constant(use.target):
            graph[use.module].add(target)
    for circle in _components(graph):
        if len(circle) > 1:
            yield f"a circle of {len(circle)} files: {', '.join(sorted(circle))}"


def _components(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """The strongly connected components (Kosaraju: by the order of leaving, then against the arrows)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        todo = [(start, iter(sorted(graph[start])))] if start not in seen else []
        seen.add(start)
        while todo:
            node, targets = todo[-1]
            following = next((each for each in targets if each not in seen), None)
            if following is None:
                order.append(node)
                todo.pop()
            else:
                seen.add(following)
                todo.append((following, iter(sorted(graph[following]))))
    against: dict[str, set[str]] = {node: set() for node in graph}
    for node, targets in graph.items():
        for target in targets:
            against[target].add(node)
    seen = set()
    for start in reversed(order):
        component, todo_nodes = set[str](), [start] if start not in seen else []
        while todo_nodes:
            node = todo_nodes.pop()
            if node not in seen:
                seen.add(node)
                component.add(node)
                todo_nodes += against[node] - seen
        if component:
            yield component


def _hidden_doors(tree: Tree) -> Iterator[str]:
    """Reads of the environment and output elsewhere than where the house has them."""
    for use in [*tree.imports(), *_names(tree)]:
        if {use.target, use.target.partition(".")[0]} & ENVIRONMENT and use.module not in READS_ENVIRONMENT:
            yield f"{use}: only {' and '.join(sorted(READS_ENVIRONMENT))} read the environment"
        prints = any(use.module == door or use.module.startswith(f"{door}.") for door in PRINTS)
        if (use.target in OUTPUT or use.target == "print") and not prints:
            yield f"{use}: nothing below cli prints"


def _names(tree: Tree) -> Iterator[Use]:
    for module, body in tree.modules.items():
        for node in ast.walk(body):
            if isinstance(node, ast.Attribute) or (isinstance(node, ast.Name) and node.id == "print"):
                yield Use(module, node.lineno, _dotted(node), when_loaded=False)


def _heavy_doors(tree: Tree) -> Iterator[str]:
    for door, heavy in LIGHT.items():
        loaded = tree.loaded_by(door)
        for use in tree.imports():
            names = {use.target, use.target.partition(".")[0], use.target.rpartition(".")[0]}
            if use.when_loaded and use.module in loaded and names & heavy:
                yield f"{use}: `import {door}` may not load it"


@cache
def house() -> Tree:
    return Tree.read(ROOT)


def test_the_house_stands() -> None:
    assert faults(house()) == []


def test_the_house_was_read() -> None:
    assert {"datapkg", "datapkg.errors"} <= house().modules.keys()


BAD = [
    ("datapkg/format/a.py", "import datapkg.store.store", "upward"),
    ("datapkg/format/a.py", "def f():\n    from datapkg import store", "upward"),
    ("datapkg/format/a.py", "class A:\n    def f(self):\n        import datapkg.cli", "upward"),
    (
        "datapkg/errors.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import datapkg.format.names",
        "upward",
    ),
    ("datapkg/objects/a.py", "from ..home import Home", "upward"),
    ("datapkg/objects/__init__.py", "from .. import home", "upward"),
    ("datapkg/objects/__init__.py", "from datapkg import build", "upward"),
    ("datapkg/api/a.py", "import importlib\nimportlib.import_module('datapkg.cli.main')", "upward"),
    ("datapkg/store/a.py", "from datapkg.remote.client import Client", "sideways"),
    ("datapkg/remote/a.py", "import datapkg.store", "sideways"),
    ("datapkg/building/a.py", "try:\n    from datapkg.reading import nodes\nexcept ImportError:\n    pass", "sideways"),
    ("datapkg/reading/a.py", "from ..building.package import build", "sideways"),
    ("datapkg/data/a.py", "from datapkg.api import load", "sideways"),
    ("datapkg/cli/a.py", "import registry_server.app", "may use nothing"),
    ("registry_server/services/a.py", "from datapkg.store import store", "may use errors, format, objects"),
    ("registry_server/services/a.py", "from datapkg import load", "may use errors, format, objects"),
    ("registry_server/services/a.py", "import datapkg.tables.content_hash", "may use errors, format, objects"),
    ("registry_server/web/a.py", "from registry_server.db import packages", "never imports db"),
    ("registry_server/web/a.py", "from ..db.tables import users", "never imports db"),
    ("registry_server/db/a.py", "import registry_server.services.policy", "upward"),
    ("registry_server/settings.py", "import registry_server.app", "upward"),
    ("datapkg/store/a.py", "import os\nroot = os.environ['HOME']", "read the environment"),
    ("datapkg/api/a.py", "from os import getenv", "read the environment"),
    ("datapkg/store/a.py", "from appdirs import user_data_dir", "read the environment"),
    ("registry_server/web/a.py", "import os\nos.getenv('A')", "read the environment"),
    ("datapkg/api/a.py", "print('done')", "nothing below cli prints"),
    ("datapkg/reading/a.py", "import sys\nsys.stderr.write('x')", "nothing below cli prints"),
    ("registry_server/services/a.py", "def f():\n    print('x')", "nothing below cli prints"),
    ("datapkg/__init__.py", "import pandas as pd", "may not load it"),
    ("datapkg/__init__.py", "try:\n    from pyarrow import parquet\nexcept ImportError:\n    pass", "may not load it"),
    ("datapkg/errors.py", "import requests.adapters", "uses requests.adapters: `import datapkg.data`"),
    ("datapkg/cli/main.py", "from rich.console import Console", "`import datapkg.cli.main`"),
    ("datapkg/building/readers/a.py", "import datapkg.building.spec.a", "upward in datapkg.building"),
    ("datapkg/building/sources/a.py", "def f():\n    from datapkg.building import b", "upward in datapkg.building"),
    ("datapkg/reading/source.py", "def f():\n    from datapkg.reading import nodes", "upward in datapkg.reading"),
    ("datapkg/reading/reprs/a.py", "import datapkg.reading.adapters.b", "sideways in datapkg.reading"),
    ("datapkg/errors.py", "def f():\n    import datapkg.data", "a circle of 2 files: datapkg.data, datapkg.errors"),
    ("datapkg/helpers.py", "", "stands on no floor"),
    ("datapkg/api/utils.py", "", "named like a drawer"),
]

GOOD = [
    ("datapkg/format/a.py", "import datapkg.errors\nfrom datapkg.format import names\nfrom . import b"),
    ("datapkg/remote/a.py", "from datapkg import __version__\nfrom datapkg.objects.base import Objects"),
    ("datapkg/api/a.py", "from datapkg.building import package\nfrom datapkg.reading import nodes\nimport pandas"),
    ("datapkg/__init__.py", "def __getattr__(name):\n    from datapkg.api import build\n    import pandas"),
    ("datapkg/settings.py", "import os\nimport appdirs\nos.environ.get('DATAPKG_HOME')"),
    ("datapkg/cli/a.py", "import sys\nimport datapkg\nprint('x', file=sys.stderr)"),
    ("datapkg/__main__.py", "from datapkg.cli.main import main"),
    ("registry_server/services/a.py", "from datapkg.errors import NotFound\nfrom registry_server.db import packages"),
    ("registry_server/workers/a.py", "from datapkg.tables import content_hash"),
    ("datapkg/building/checks/a.py", "from datapkg.building.spec import b"),
    ("registry_server/app.py", "from registry_server.db import tables\nfrom registry_server.web import packages"),
    ("registry_server/settings.py", "import os\nos.environ['DATAPKG_REGISTRY_DATA']"),
]


def synthetic(root: Path, path: str, text: str) -> Tree:
    """A small house with every room empty, but for one file; `data` loads `errors`."""
    for package, floors in FLOORS.items():
        for room in set().union(*floors):
            (root / package / room).mkdir(parents=True, exist_ok=True)
            (root / package / room / "__init__.py").touch()
    (root / "datapkg/data/__init__.py").write_text("import datapkg.errors")
    file = root / path
    if (folder := file.with_suffix("")).is_dir():
        (folder / "__init__.py").unlink()
        folder.rmdir()
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return Tree.read(root)


@pytest.mark.parametrize(("path", "text", "fault"), BAD)
def test_a_bad_import_is_caught(tmp_path: Path, path: str, text: str, fault: str) -> None:
    found = faults(synthetic(tmp_path, path, text))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_a_good_import_is_let_be(tmp_path: Path, path: str, text: str) -> None:
    assert faults(synthetic(tmp_path, path, text)) == []
