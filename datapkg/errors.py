"""Every way in which datapkg can fail: one tree, each class with a wire code, an HTTP status and an exit code.

DatapkgError
├─ InvalidInput          InvalidName · InvalidBuildFile · InvalidManifest · InvalidLock · WrongType · NotAFile
│                        NotAFolder · NewerFormat
├─ NotFound              PackageNotFound (PackageNotInstalled) · VersionNotFound · TagNotFound
│                        ObjectNotFound · NodeNotFound · NoSuchFile
├─ Conflict
├─ BuildFailed           TransformFailed · CheckFailed · StageFailed
├─ IntegrityError        HashMismatch · CorruptObject
├─ Refused               NotLoggedIn · Forbidden · QuotaExceeded (DiskFull) · ReadOnly
├─ Unreachable
├─ MissingDependency
└─ ResourceExhausted
"""

from __future__ import annotations

from errno import EAGAIN, EISDIR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR, EROFS

TYPE_CHECKING = False
# The public package index has another project under our name: what installs the right one is a line of each registry.
UPGRADE_HINT = "upgrade datapkg; the page /client/ of your registry has the line to type"
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, ClassVar


class DatapkgError(Exception):
    """Anything that datapkg refuses or cannot do; `str()` of it is the message.

    `hint` is one line that can be typed or done next, which a traceback shows too; `detail` holds JSON values that a
    program can act on.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **detail: Any) -> None:
        super().__init__(message)
        self._message, self._hint = message, hint
        self._later: Callable[[], None] | None = None
        self.detail: dict[str, Any] = detail
        if hint and hint not in message:
            self.__notes__ = [f"hint: {hint}"]

    @property
    def message(self) -> str:
        """What failed; what `explain_later` was given is called before the first read."""
        self._complete()
        return self._message

    @message.setter
    def message(self, text: str) -> None:
        self._message = text

    @property
    def hint(self) -> str:
        """One line that can be typed or done next, or nothing."""
        self._complete()
        return self._hint

    def __str__(self) -> str:
        return self.message

    def explain(self, text: str, hint: str | None = None) -> None:
        """Add a clause to the message, and replace the hint where one is given."""
        self._complete()
        self._message = f"{self._message} ({text})" if text else self._message
        if hint is not None:
            self._hint = hint
            self.__notes__ = [f"hint: {hint}"] if hint and hint not in self._message else []

    def explain_later(self, explain: Callable[[], None]) -> None:
        """Call a function when the message or hint is read: one that is slow, for an error that is often caught."""
        self._complete()
        self._later = explain

    def _complete(self) -> None:
        later, self._later = self._later, None
        if later is not None:
            later()

    def __reduce__(self) -> tuple[Any, ...]:
        return from_wire, (self.to_wire(), self.status)

    def to_wire(self) -> dict[str, Any]:
        """Return the error as JSON: code, message, hint and detail, with the class's name as `detail["type"]`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "detail": {**self.detail, "type": type(self).__name__},
        }


class InvalidInput(DatapkgError, ValueError):
    """Something given is not allowed; `problems` lists every (place, what) at once."""

    code = "invalid"
    status = 400
    exit_code = 2

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Return all mistakes of an input, as pairs of a place and what is wrong there."""
        return [(place, what) for place, what in self.detail.get("problems", [])]


class InvalidName(InvalidInput):
    """A name, ref, tag, version or hash does not follow its grammar."""


class InvalidBuildFile(InvalidInput):
    """A build file has mistakes."""


class InvalidManifest(InvalidInput):
    """Bytes that should be a manifest are not one."""


class InvalidLock(InvalidInput):
    """`datapkg.yml` or `datapkg.lock` has mistakes, or does not fit the other."""


class NewerFormat(InvalidManifest, InvalidLock):
    """A manifest, a lock or a store has a format that only a newer datapkg reads; nothing is damaged."""


class WrongType(InvalidInput, TypeError):
    """The request does not fit the types of the data."""


class NotAFile(InvalidInput, IsADirectoryError):
    """A file was asked for, and a folder is there."""

    errno = EISDIR


class NotAFolder(InvalidInput, NotADirectoryError):
    """A folder was asked for, and a file is there."""

    errno = ENOTDIR


class NotFound(DatapkgError, LookupError):
    """What was asked for is not there, or may not be seen."""

    code = "not_found"
    status = 404
    exit_code = 3


class PackageNotFound(NotFound):
    """No such package, for this actor, at this place."""


class PackageNotInstalled(PackageNotFound, ModuleNotFoundError):
    """The package is not in the local store; the hint installs it."""


class VersionNotFound(NotFound):
    """The package has no such version."""


class TagNotFound(NotFound):
    """The package has no such tag."""


class ObjectNotFound(NotFound):
    """No object (or manifest) of this hash is here."""


class NodeNotFound(NotFound, KeyError, AttributeError):
    """The package has no node at this path."""


class NoSuchFile(NotFound, FileNotFoundError):
    """A package seen as files has nothing at this path, or is not here itself."""

    errno = ENOENT


class Conflict(DatapkgError):
    """A name is taken, a version exists, or somebody pushed meanwhile."""

    code = "conflict"
    status = 409
    exit_code = 4


class BuildFailed(DatapkgError):
    """A package could not be built from its sources."""

    code = "build_failed"
    status = 422
    exit_code = 5


class TransformFailed(BuildFailed):
    """A source could not be read as what it should be."""


class CheckFailed(BuildFailed):
    """Data do not hold what their check demands."""


class StageFailed(BuildFailed):
    """A stage's command or function did not end well, or did not write what it was to write."""


class IntegrityError(DatapkgError, ValueError):
    """Bytes are not what their name says."""

    code = "integrity"
    status = 422
    exit_code = 6


class HashMismatch(IntegrityError):
    """Bytes that arrived hash to something else than expected (`detail["expected"]`, `detail["actual"]`)."""


class CorruptObject(IntegrityError):
    """An object kept here has changed since it was stored."""


class Refused(DatapkgError, PermissionError):
    """The actor may not do this."""

    code = "refused"
    status = 403
    exit_code = 7


class NotLoggedIn(Refused):
    """A token is needed, or the one given is not valid."""

    status = 401


class Forbidden(Refused):
    """The token is valid, but does not allow this."""


class QuotaExceeded(Refused):
    """More than is allowed: too many bytes, lines or requests; the message names the bound."""

    status = 413


class DiskFull(QuotaExceeded):
    """A disk has too little room, here or at the registry; `detail["lacking"]` is in bytes, where it is known."""

    status = 507


class ReadOnly(Refused):
    """A package was to be changed where it can only be read."""

    errno = EROFS


class Unreachable(DatapkgError, ConnectionError):
    """A server did not answer, or not in time, or not in our words."""

    code = "unreachable"
    status = 502
    exit_code = 8


class MissingDependency(DatapkgError, ImportError):
    """An optional library is not installed; the hint installs it."""

    code = "missing_extra"
    status = 500
    exit_code = 9


class ResourceExhausted(DatapkgError, MemoryError):
    """Memory, threads or open files ran out on this machine; nothing is said about the data."""

    code = "exhausted"
    status = 503
    exit_code = 10


_LIMITS = {
    "memory": "close other programs, or raise the limit of memory: ulimit -v unlimited",
    "threads or processes": "end other programs, or raise the limits: ulimit -u 4096; ulimit -v unlimited",
    "open files": "allow more open files: ulimit -n 4096",
}
_ERRNOS = {ENOMEM: "memory", EMFILE: "open files", ENFILE: "open files", EAGAIN: "threads or processes"}
# What libraries write instead of an errno or a MemoryError: pyarrow, pandas, Python, zstd, C++.
_TEXTS = {
    "malloc of size ": "memory",
    "realloc of size ": "memory",
    "Memory mapping file failed: Cannot allocate memory": "memory",
    "std::bad_alloc": "memory",
    "Error tokenizing data. C error: out of memory": "memory",
    "Out of Memory Error": "memory",
    "can't start new thread": "threads or processes",
    "Failed to launch worker thread": "threads or processes",
    "Resource temporarily unavailable": "threads or processes",
}


def exhausted(error: BaseException, doing: str = "") -> ResourceExhausted | None:
    """Return the error to raise if an exception, or one that it was raised from, means that a resource ran out.

    `doing` says what needed it. Whoever takes errors of a library for errors of the data asks this first.
    """
    for seen in causes(error):
        if isinstance(seen, ResourceExhausted):
            return seen
        if (what := _resource(seen)) is not None:
            reason = " ".join(str(seen).split())[:300] or type(seen).__name__
            return ResourceExhausted(
                f"{doing}{': ' if doing else ''}not enough {what}: {reason}", hint=_LIMITS[what], resource=what
            )
    return None


def causes(error: BaseException | None, *, hidden: bool = False) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from, each once: `raise error from error` is a circle.

    With `hidden`, also those that `raise … from None` left out.
    """
    known = set[int]()
    while error is not None and id(error) not in known:
        known.add(id(error))
        yield error
        shows = hidden or not error.__suppress_context__
        error = error.__cause__ or (error.__context__ if shows else None)


def _resource(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return _ERRNOS[error.errno]
    text = str(error.args[0]) if error.args and not isinstance(error, DatapkgError) else ""
    if isinstance(error, ImportError) and "failed to map segment" in text:
        return "memory"
    return next(
        (what for start, what in _TEXTS.items() if text.removeprefix("Unknown error: ").startswith(start)), None
    )


class Notice(UserWarning):
    """Something that did not stop the work and that a user should know; the command line prints it as a note."""


class DamagedFile(Notice):
    """A small file that datapkg keeps is damaged and was passed over; the text says what it was and what to type."""


class RejectedToken(Notice):
    """A registry rejected the token, and public packages were read without it; the text names its source."""


def _tree(cls: type[DatapkgError]) -> list[type[DatapkgError]]:
    return [cls, *(each for child in cls.__subclasses__() for each in _tree(child))]


CLASSES: dict[str, type[DatapkgError]] = {cls.__name__: cls for cls in _tree(DatapkgError)}
_BY_CODE: dict[str, type[DatapkgError]] = {cls.code: cls for cls in reversed(_tree(DatapkgError))}


def from_wire(error: object, status: int = 500) -> DatapkgError:
    """Return the exception that `to_wire` wrote; anything else becomes an `Unreachable` with the status."""
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return Unreachable(f"the server answered with HTTP status {status} and no explanation", status=status)
    detail = error.get("detail")
    detail = {str(k): v for k, v in detail.items()} if isinstance(detail, dict) else {}
    kind = detail.pop("type", None)
    cls = (CLASSES.get(kind) if isinstance(kind, str) else None) or _BY_CODE.get(str(error.get("code")), DatapkgError)
    detail = {key: value for key, value in detail.items() if key not in ("message", "hint", "self")}
    if not _are_problems(detail.get("problems", [])):
        del detail["problems"]
    return cls(error["message"], hint=str(error.get("hint") or ""), **detail)


def _are_problems(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, (list, tuple)) and len(each) == 2 and all(isinstance(text, str) for text in each)
        for each in value
    )
