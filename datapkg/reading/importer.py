"""Import packages: find `datapkg.data.USER.NAME` in this machine's stores and make modules of it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from datapkg.errors import InvalidInput, InvalidName, PackageNotInstalled, Refused, Unreachable
from datapkg.format.names import Ref, check_package, check_user
from datapkg.format.suggestions import close_names
from datapkg.home import Home
from datapkg.reading.nodes.groups import Package
from datapkg.reading.opening import open_source
from datapkg.reading.source import Source
from datapkg.wheel_pins import FETCH_LINE, SUFFIX, note_pin, wheel_pin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROOT = "datapkg.data"


class UserModule(ModuleType):
    """`datapkg.data.USER`: a user whose packages are its attributes."""

    def __getattr__(self, name: str) -> ModuleType:
        return child_module(self.__name__, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *Home().packages(self.__name__.rpartition(".")[2])})

    def __repr__(self) -> str:
        return f"<packages of {self.__name__.rpartition('.')[2]} on this machine: {self.__name__}>"


class PackageModule(Package, ModuleType):
    """`datapkg.data.USER.NAME`: a package that is a module, so that it can be imported and reloaded."""

    __all__ = ()

    def __init__(self, name: str) -> None:
        ModuleType.__init__(self, name)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        from datapkg.reading.reprs.text import describe

        return describe(self)


class Finder:
    """Finds users and packages for `sys.meta_path`, and makes modules of users.

    It comes last there, so that files that a wheel put below `datapkg/data/USER` take precedence.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a user or package; raise `PackageNotInstalled` with the line to type.

        The state of a package is decided here, at its import and at each reload. To `importlib.util.find_spec`, which
        only tests, what is missing is None.
        """
        if not fullname.startswith(f"{ROOT}.") or "._" in fullname:
            return None
        asked = _asked_for()
        try:
            return self._found(fullname)
        except ModuleNotFoundError:
            if not asked:
                raise
            user = fullname.split(".")[2]
            if asked != fullname == f"{ROOT}.{user}":
                return self._user_spec(fullname, user, [])  # Python imports the user before the package
            _forget_user(user)
            if asked == fullname:
                return None
            raise

    def _found(self, fullname: str) -> ModuleSpec:
        user, _, rest = fullname.removeprefix(f"{ROOT}.").partition(".")
        name, _, deeper = rest.partition(".")
        if deeper:
            raise _not_a_module(user, name, deeper)
        try:
            check_user(user)
            return self._package(fullname, user, name) if name else self._user(fullname, user)
        except InvalidName as error:
            raise PackageNotInstalled(f"{fullname} cannot be imported: {error}") from None

    def _user(self, fullname: str, user: str) -> ModuleSpec:
        folders = [folder for entry in sys.path if (folder := _folder_of(entry or os.getcwd(), user))]
        if not folders and not Home().has_user(user) and not _is_lazy():
            name = _name_wanted(fullname)
            if not name:
                near = close_names(user, Home().users())[:1]
                advice = f" (did you mean {near[0]!r}?)" if near else ""
                raise _not_installed(f"no package of {user} is installed{advice}", f"datapkg install {user}/NAME")
            self._package(f"{fullname}.{name}", user, name)  # raises the error with the line to type, or follows a lock
        return self._user_spec(fullname, user, folders)

    def _user_spec(self, fullname: str, user: str, folders: list[str]) -> ModuleSpec:
        spec = ModuleSpec(fullname, self, origin=f"packages of {user}", is_package=True)  # type: ignore[arg-type]
        spec.submodule_search_locations = folders
        return spec

    def _package(self, fullname: str, user: str, name: str) -> ModuleSpec:
        source = open_package(user, name)
        return ModuleSpec(fullname, PackageLoader(source), origin=str(source.ref), is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return UserModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module of a user needs no initialisation."""


def open_package(user: str, name: str) -> Source:
    """Return the state of a package that an import means now; raise `PackageNotInstalled` with the line to type."""
    ref = Ref(user, check_package(name))
    home = Home()
    is_lazy = home.settings.get("lazy").value
    try:
        return open_source(ref, home, lazy=is_lazy)
    except PackageNotInstalled as error:
        raise _not_installed(error.message, error.hint) from None
    except (InvalidInput, Refused, Unreachable) as error:
        if not is_lazy and isinstance(error, InvalidInput):
            raise
        line = f"datapkg install {ref}" if is_lazy else error.hint if isinstance(error, Refused) else FETCH_LINE
        raise _not_installed(f"{ref} is not installed, and cannot be fetched now: {error.message}", line) from None


def _folder_of(entry: str, user: str) -> str:
    """Return where wheels have put the packages of a user below an entry of the path: "" if it has none.

    Of a zip file, what is in it is not known before Python looks for a module there.
    """
    folder = os.path.join(entry, *ROOT.split("."), user)
    return folder if os.path.isdir(folder) or os.path.isfile(entry) else ""


class PackageLoader:
    """Makes a module of one state of a package."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return PackageModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if not isinstance(module, PackageModule):  # `importlib.util.LazyLoader` passes a plain module
            module.__class__ = PackageModule
        vars(module).update(__source__=self.source, __at__="")


FINDER = Finder()


def become_package(name: str, file: str) -> None:
    """Make the module `name` the package that is pinned by the wheel which it came with.

    The module of a thin wheel, in `file`, calls this when it is executed, at its import and at each reload. A lock
    counts more than the pin, as in `resolve.find_installed`.
    """
    user, _, package = name.removeprefix(f"{ROOT}.").partition(".")
    if not name.startswith(f"{ROOT}.") or not package:
        raise ImportError(f"{file} is a data package, which is imported as {ROOT}.USER.NAME")
    module = sys.modules[name]
    if wheel_pin(f"{user}/{package}") is None:
        place = file.removesuffix(".py") + SUFFIX
        note_pin(f"{user}/{package}", place, module.__loader__.get_data(place))  # type: ignore[union-attr]
    PackageLoader(open_package(user, package)).exec_module(module)
    vars(module)["__path__"] = []  # so that our finder answers for what is imported below it


def _is_lazy() -> bool:
    return bool(Home().settings.get("lazy").value)


def child_module(parent: str, name: str) -> ModuleType:
    """Import a user or package that was asked for as an attribute; raise `AttributeError` if it is missing."""
    if not name.startswith("_"):
        try:
            return import_module(f"{parent}.{name}")
        except PackageNotInstalled as error:
            raise AttributeError(str(error), name=name) from None
    raise AttributeError(f"module {parent!r} has no attribute {name!r}", name=name)


def users() -> list[str]:
    """Return the users who have a package on this machine, in order."""
    return Home().users()


def _asked_for() -> str:
    """Return the module that `importlib.util.find_spec` was called for, if it is the caller; else ""."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") in (__name__, "importlib._bootstrap"):
        frame = frame.f_back
    is_asked = frame.f_globals.get("__name__") == "importlib.util" and frame.f_code.co_name == "find_spec"
    return str(frame.f_locals.get("fullname") or "") if is_asked else ""


def _forget_user(user: str) -> None:
    """Remove a user without packages from `sys.modules`, so that the next import raises the error again."""
    module = sys.modules.get(f"{ROOT}.{user}")
    if isinstance(module, UserModule) and not module.__path__ and not Home().has_user(user):
        del sys.modules[module.__name__]
        vars(sys.modules[ROOT]).pop(user, None)


def _not_installed(what: str, line: str) -> PackageNotInstalled:
    """Return the error, whose message is complete, since a traceback shows nothing else.

    Its `name` is not set, because `from … import` drops errors that have one.
    """
    return PackageNotInstalled(f"{what}; type: {line}", hint=line)


def _not_a_module(user: str, name: str, deeper: str) -> ModuleNotFoundError:
    source = getattr(sys.modules.get(f"{ROOT}.{user}.{name}"), "__source__", None)
    path = deeper.replace(".", "/")
    if source and not source.kind(path) and deeper not in source.children("").attributes:
        from datapkg.reading.missing.missing_node import missing_node

        return ModuleNotFoundError(str(missing_node(source, path)))
    first = deeper.partition(".")[0]
    line = f"from {ROOT}.{user}.{name} import {first}"
    return ModuleNotFoundError(f"{deeper} is a node of the package {user}/{name}, not a module; type: {line}")


def _name_wanted(user_module: str) -> str:
    """Return the package that is being imported of a user who has none on this machine, or "".

    Python imports the user first, without saying what for; the frames that wait for it know.
    """
    frame = sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(("importlib.", __name__)):
        wanted = frame.f_locals.get("name")
        if isinstance(wanted, str) and wanted.startswith(f"{user_module}."):
            return wanted.split(".")[3]
        frame = frame.f_back
    return _first_of_from_list(frame, user_module)


def _first_of_from_list(frame: Any, user_module: str) -> str:
    """Return the first name of the statement `from MODULE import NAME` that a frame executes, or ""."""
    import dis

    from_list: object = None
    for step in dis.get_instructions(frame.f_code):
        if step.offset == frame.f_lasti:
            is_ours = step.opname == "IMPORT_NAME" and step.argval == user_module
            return str(from_list[0]) if is_ours and isinstance(from_list, tuple) and from_list else ""
        from_list = step.argval
    return ""
