"""Call functions of modules beside a build file, and convert what they return to values of nodes.

A module is loaded for one call only: it and everything it imports from its folder are removed from `sys.modules`
afterwards, so that the `prepare.py` of one build is never used by another.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import hashlib
import importlib.util
import inspect
import io
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from datapkg.building.sources.base import Identity, SourceContext, SourceHandler
from datapkg.building.sources.file import hash_file
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.spec.model import NodeSpec, PythonSource
from datapkg.errors import BuildFailed, InvalidInput, TransformFailed, exhausted
from datapkg.format.hashing import hash_bytes
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

_NAME = "datapkg_function_of_a_build"
_LINES_KEPT, _LINE_CHARS = 20, 500
# `sys.path` and `sys.modules`, which determine how modules are found, are shared by all threads.
_lock = threading.RLock()


class FunctionHandler(SourceHandler[PythonSource]):
    """The result of a function; a function of files is called again only if its source, files or kwargs changed."""

    def code(self, source: PythonSource) -> str:
        """Return the name of the function that is called."""
        return f"python {quoted(f'{source.module.stem}:{source.function}')}"

    def identity(self, spec: NodeSpec, source: PythonSource, context: SourceContext) -> Identity:
        """Return a hash over the module, the files and the kwargs; without files, the function is always called."""
        name = f"{source.module.name}:{source.function}"
        files = [{"file": each.shown, "hash": hash_file(each)} for each in source.files]
        inputs: dict[str, Any] = {"python": name, "sha256": source_hash(source.module), "files": files}
        inputs |= {"kwargs": spec.kwargs} if spec.kwargs else {}
        record = {"path": spec.path, **inputs}
        if not files:
            return Identity(record, why_read="asked")
        key = hash_bytes(repr(inputs).encode("utf-8", "backslashreplace"))
        return Identity(record, key, name, why_known="same inputs")

    @contextlib.contextmanager
    def read(
        self, spec: NodeSpec, source: PythonSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield the returned value, and the lines that the function printed as warnings."""
        with translated_errors(spec, None) as warnings:
            called = call(source, spec.kwargs)
            warnings += called.printed
            yield called.value, warnings
            if called.sha256 != identity.record["sha256"]:
                raise BuildFailed(
                    f"{quoted(source.module.name)} changed while it was loaded",
                    hint="build again when nothing writes to it",
                    path=source.module.name,
                )


@dataclass(frozen=True)
class Called:
    """The result of a call: a `pa.Table`, a `TableStream`, a numpy array, the path of a file, or a dict of these.

    `sha256` is the hash of the source by `source_hash`; `printed` are the last lines that it printed.
    """

    value: Any
    sha256: str
    printed: list[str] = field(default_factory=list)


def call(source: PythonSource, kwargs: dict[str, Any]) -> Called:
    """Call a function with the paths of its files, and kwargs.

    Raise `InvalidInput` if there is no such function, `TransformFailed` if it raises or returns an unsupported value.
    """
    sha256 = source_hash(source.module)
    with loaded(source.module, source.function) as function:
        paths = [each.path.absolute() for each in source.files]
        with printed() as lines, explained(source.module, f"{source.function}()", TransformFailed):
            # Kwargs are copied, so a function that changes them does not change the build's record.
            value = function(*paths, **copy.deepcopy(kwargs))
    # Outside of the block, where modules are found in the usual way.
    return Called(_taken(value, f"{source.function}() of {source.module.name}"), sha256, lines)


@contextlib.contextmanager
def loaded(module: Path, function: str) -> Iterator[Callable[..., Any]]:
    """Yield a function of a module; until the block ends, imports look in the module's folder first.

    Raise `InvalidInput` if there is no such function, `TransformFailed` if the module cannot be loaded.
    """
    files = source_files(module)
    with _lock, _own_modules(module.parent.absolute(), files):
        with explained(module, "the module", TransformFailed), printed():
            found = _load(module)
        yield _function(found, function, module)


def source_files(module: Path) -> list[Path]:
    """Return, sorted, a module and all files in its folder that it imports, directly or indirectly."""
    folder, found, todo = module.parent.absolute(), dict[Path, None](), [module.absolute()]
    while todo:
        path = todo.pop()
        if path not in found:
            found[path] = None
            todo += [each for name in _imports(path, folder) for each in _files_of(name, folder)]
    return sorted(found)


def source_hash(module: Path) -> str:
    """Return a sha256 of the names and contents of `source_files`, which determine the results of the functions."""
    folder, digest = module.parent.absolute(), hashlib.sha256()
    for path in source_files(module):
        text = _text(path)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(text)}\0".encode())
        digest.update(text)
    return digest.hexdigest()


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{quoted(path.name)} cannot be read: {error.strerror}") from error


def _imports(path: Path, folder: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports; a file with syntax errors imports nothing."""
    package = path.parent.relative_to(folder).parts
    try:
        tree = ast.parse(_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{each.name}".lstrip(".") for each in node.names)


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that run when a dotted name is imported."""
    here = folder
    for part in name.split("."):
        here = here / part
        for path in (here / "__init__.py", here.with_name(f"{part}.py")):
            if path.is_file():
                yield path


@contextlib.contextmanager
def _own_modules(folder: Path, files: list[Path]) -> Iterator[None]:
    """Import modules from a folder first; afterwards remove those loaded from it."""
    tops = {path.relative_to(folder).parts[0].removesuffix(".py") for path in files}
    # Modules of the same names that were imported from elsewhere are hidden during the call, and restored after it.
    # A copy: on a worker of a cluster, other threads import at the same time.
    hidden = {
        name: module
        for name, module in dict(sys.modules).items()
        if name.partition(".")[0] in tops - sys.stdlib_module_names and not _is_below(module, folder)
    }
    before, writes = dict(sys.modules), sys.dont_write_bytecode
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # otherwise Python writes __pycache__ into the user's data folder
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if name not in before and _is_below(module, folder):
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_below(module: ModuleType | None, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *(list(getattr(module, "__path__", None) or []))]
    return any(isinstance(each, str) and Path(each).is_relative_to(folder) for each in places)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_NAME, path.absolute())
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{quoted(path.name)} is not a Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module  # dataclasses look up their module there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[_NAME]
    return module


def _function(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if callable(found):
        return found
    own = [value for value in vars(module).values() if inspect.isfunction(value) and value.__module__ == _NAME]
    known = [each.__name__ for each in own if not each.__name__.startswith("_")]
    hint = choices(name, known) if known else "; there is none in it"
    raise InvalidInput(f"{path.name} has no function {quoted(name)}{hint}")


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """Yield a list that is filled with the last printed lines when the block ends; standard output is for results."""
    lines: list[str] = []
    end = _End()
    try:
        with contextlib.redirect_stdout(end):
            yield lines
    finally:
        lines += [line[:_LINE_CHARS] for line in end.text.splitlines() if line.strip()][-_LINES_KEPT:]


class _End(io.TextIOBase):
    """A text stream that keeps only the end of what is written."""

    text = ""

    def write(self, text: str) -> int:
        """Append a text and return its length."""
        self.text = (self.text + text)[-_LINES_KEPT * _LINE_CHARS :]
        return len(text)


@contextlib.contextmanager
def explained(module: Path, what: str, kind: type[BuildFailed]) -> Iterator[None]:
    """Turn any exception into an error with its type, text and line in the user's files."""
    try:
        yield
    except InvalidInput:
        raise
    except (Exception, SystemExit) as error:
        file, line = _line(error, module)
        text = " ".join(str(error).split())[:500]
        raised = f"{type(error).__name__}{f': {text}' if text else ''}"
        place = f"{file}{f', line {line}' if line else ''}: {what}"
        failed = kind(f"{place} raised {raised}", module=module.name, function=what, file=file, line=line)
        raise exhausted(error, place) or failed from error


def _line(error: BaseException, module: Path) -> tuple[str, int]:
    """Return file and line of the innermost frame in the module's folder that an exception came from."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename).name, error.lineno or 0
    folder = module.parent.absolute()
    frames = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).is_relative_to(folder)]
    return (Path(frames[-1].filename).name, frames[-1].lineno or 0) if frames else (module.name, 0)


def _taken(value: Any, place: str) -> Any:
    """Return the value of a function in the form that `NodeWriter` stores."""
    import numpy

    if isinstance(value, dict):
        if not value:
            raise InvalidInput(f"{place} gave an empty dict")
        return {_key(name, place): _taken(each, f"{place}: {name!r}") for name, each in value.items()}
    if isinstance(value, Path):
        if not value.is_file():
            raise InvalidInput(f"{place} gave the path {quoted(str(value))}, and there is no file")
        return value.absolute()
    return value if isinstance(value, numpy.ndarray) else _table(value, place)


def _key(name: Any, place: str) -> str:
    if not isinstance(name, str):
        raise InvalidInput(f"{place} gave a dict with the name {name!r}, which is not text")
    return name


def _table(value: Any, place: str) -> Any:
    import pandas
    import pyarrow as pa

    from datapkg.building.readers.validity import check_values
    from datapkg.tables.extension_types import without_inner_extensions
    from datapkg.tables.frame_to_arrow import table_from_arrow, table_from_frame

    if isinstance(value, pandas.DataFrame):
        return table_from_frame(value)
    if not hasattr(value, "__arrow_c_stream__") or isinstance(value, pandas.Series):
        expected = "a DataFrame, an Arrow table, other Arrow data, a numpy array, a pathlib.Path, or a dict"
        raise InvalidInput(f"{place} gave a {type(value).__name__}; expected {expected}")
    table = pa.table(value)
    check_values(table)
    return table_from_arrow(without_inner_extensions(table))
