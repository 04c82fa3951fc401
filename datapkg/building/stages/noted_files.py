"""Find the code that a run used: each Python that it starts notes the files that it executes, as soon as it does.

A module `sitecustomize` on the path of the run wraps the loaders of modules. A note is written at once, so that a
process that is killed, replaces itself or ends by `os._exit` has written its notes too, as children of
`multiprocessing` do. Modules that local code imports in vain are noted too: it may go on without them, and one that
appears later changes what it does; so are those that it only looks for, by `importlib.util.find_spec`. An audit hook
(PEP 578) would see `exec` of texts too, but makes each `id()` four times as slow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from datapkg.building.stages.left_files import open_left

MODULES_VARIABLE, ROOT_VARIABLE = "DATAPKG_STAGE_MODULES", "DATAPKG_STAGE_ROOT"
_MAX_NOTES_BYTES = 16 << 20
_ABSENT = "?"
_INSTALLED = {"site-packages", "dist-packages"}
# It runs on Python 3.6 and later, since a stage may use another Python. Names without a file are not noted,
# such as programs give to code that they make. The script itself has no file any more at the end, so it is taken
# from `argv`.
_SITE = """
import atexit, io, os, sys, zipimport
import importlib._bootstrap_external as loaders
_here = os.path.dirname(os.path.abspath(__file__))
def _watch(notes, root, start):
    seen, folders = set(), {}
    own = {os.path.dirname(each) for each in (os.__file__, sys.executable) if each}
    own = {os.path.realpath(each) for each in own} | {os.path.abspath(each) for each in own}
    own.discard(root)
    libraries = tuple(each + os.sep for each in own)
    def real(path):
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)
    def write(line):
        file = os.open(os.path.join(notes, str(os.getpid())), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line)
        finally:
            os.close(file)
    def note(path):
        if not isinstance(path, str) or path in seen:
            return
        full = path
        if not os.path.isabs(path):
            places = [os.path.abspath(path), os.path.join(start, path)]
            full = next((each for each in places if os.path.isfile(each)), "")
        full = os.path.normpath(full) if full else ""
        # Below a link in the folder it is beside the build file, wherever the link leads.
        full = full if full.startswith(root + os.sep) or not full else real(full)
        if full.startswith(root + os.sep) and not full.startswith(libraries):
            if os.path.isfile(full):
                write((full + chr(10)).encode("utf-8", "surrogateescape"))
        if os.path.isabs(path) or path.startswith("<"):
            seen.add(path)
    def is_ours(folder):
        return folder == root or (folder.startswith(root + os.sep) and not (folder + os.sep).startswith(libraries))
    def is_asked_here():
        frame = sys._getframe(3)
        while frame and ("importlib" in frame.f_code.co_filename):
            frame = frame.f_back
        path = frame.f_code.co_filename if frame else ""
        if path.startswith("<"):
            return frame.f_globals.get("__name__") == "__main__"
        return is_ours(os.path.dirname(os.path.abspath(path)))
    def note_absent(name, path):
        if is_asked_here():
            last = name.rpartition(".")[2]
            for folder in {os.path.realpath(each) for each in (sys.path if path is None else path)}:
                for each in (last + ".py", os.path.join(last, "__init__.py")) if is_ours(folder) else ():
                    line = "?" + os.path.join(folder, each)
                    if line not in seen:
                        seen.add(line)
                        write((line + chr(10)).encode("utf-8", "surrogateescape"))
    def wrap_finder(inner):
        def find_spec(name, path=None, target=None):
            spec = inner(name, path, target)
            try:
                note_absent(name, path) if spec is None else note(spec.origin)
            except Exception:
                pass
            return spec
        loaders.PathFinder.find_spec = staticmethod(find_spec)
    def wrap(place, name, file_of):
        inner = getattr(place, name, None)
        if inner is None:
            return
        def wrapped(*given):
            try:
                note(file_of(*given))
            except Exception:
                pass
            return inner(*given)
        try:
            setattr(place, name, wrapped)
        except TypeError:  # a type in C, as `zipimporter` before 3.8
            pass
    def last():
        note(sys.argv[0])  # before 3.8 it is not there at the start
        for module in list(sys.modules.values()):
            note(getattr(module, "__file__", None))
    write(b"")
    atexit.register(last)
    for loader in (loaders.SourceLoader, loaders.SourcelessFileLoader):
        wrap(loader, "get_code", lambda self, name: self.get_filename(name))
    wrap(zipimport.zipimporter, "get_code", lambda self, name: self.archive)
    wrap(loaders.ExtensionFileLoader, "create_module", lambda self, spec: spec.origin)
    wrap_finder(loaders.PathFinder.find_spec)
    wrap(io, "open_code", lambda path: path)  # by `runpy`
    note(getattr(sys, "argv", [""])[0])
if os.environ.get("DATAPKG_STAGE_MODULES") and os.environ.get("DATAPKG_STAGE_ROOT"):
    _watch(os.environ["DATAPKG_STAGE_MODULES"], os.environ["DATAPKG_STAGE_ROOT"], os.getcwd())
sys.path[:] = [each for each in sys.path if os.path.abspath(each or os.curdir) != _here]
_self = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize
except ImportError:
    pass
finally:
    if _self:
        sys.modules.setdefault("sitecustomize", _self)
"""


def write_site(folder: Path) -> None:
    """Write the module that each Python of a run imports, if `folder` is on its path."""
    (folder / "sitecustomize.py").write_text(_SITE)


def noted_code(notes: Path, root: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Return the files that were executed, and those that were imported in vain, relative to the build folder.

    Installed libraries are left out. `folder` is that of the run, which may be below the build folder, where the store
    is.
    """
    own = str(folder.absolute()), os.path.realpath(folder)
    roots = [os.path.realpath(folder / "code"), os.path.realpath(root)]
    found: dict[str, set[str]] = {"": set(), _ABSENT: set()}
    for noted in _lines(notes):
        mark, line = (_ABSENT, noted[1:]) if noted.startswith(_ABSENT) else ("", noted)
        base = next((each for each in roots if line.startswith(each + os.sep)), None)
        is_ours = base == roots[1] and line.startswith(tuple(each + os.sep for each in own))
        if base and not is_ours:
            path = os.path.relpath(line, base)
            if _INSTALLED.isdisjoint(PurePath(path).parts):
                found[mark].add(path)
    return sorted(found[""]), sorted(found[_ABSENT])


def unnoted(command: Sequence[str], notes: Path) -> Iterator[str]:
    """Yield a warning if a command starts a Python that has noted nothing, since it ignores the path of the run."""
    if command and PurePath(command[0]).name.startswith("python") and not any(notes.iterdir()):
        yield (
            "its Python did not note which modules it imported, as with the options -I, -E and -S; without them, or "
            "with the modules named in `code`, a change of a module runs the stage again"
        )


def _lines(notes: Path) -> Iterator[str]:
    for file in notes.iterdir():
        stream = open_left(file)
        with stream or contextlib.nullcontext():
            text = stream.read(_MAX_NOTES_BYTES).decode("utf-8", "surrogateescape") if stream else ""
        yield from filter(_is_path, text.split("\n"))


def _is_path(line: str) -> bool:
    return "\0" not in line and os.path.normpath(line) == line
