"""Which of a package's versions a version or a range means; yanked ones are treated as PEP 592 describes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from datapkg.errors import VersionNotFound
from datapkg.format.names import State

_SHOWN = 3


def find_version(package: str, wanted: State, versions: Iterable[str], yanked: Mapping[str, str] = {}) -> str:
    """Return the version that a version or a range means; raise `VersionNotFound`.

    `yanked` has the reason of each version that was withdrawn. A range means no such version, even if no other one
    matches; an exact version does.
    """
    known = list(versions)
    found = best_version(wanted, known, yanked)
    if found is not None:
        return found
    what = "version" if wanted.kind == "version" else "version that matches"
    error = VersionNotFound(
        f"{package} has no {what} {wanted.value}", hint=f"datapkg version ls {package}", version=wanted.value
    )
    if withdrawn := matching(wanted, known):
        listed = "; ".join(yanked_text(each, yanked[each]) for each in withdrawn[: -_SHOWN - 1 : -1])
        error.explain(f"those that match were yanked: {listed}", f"datapkg install {package}@{withdrawn[-1]}")
    raise error


def best_version(wanted: State, versions: Iterable[str], yanked: Collection[str] = ()) -> str | None:
    """Return the newest version that a version or a range means, None without one; see `find_version`."""
    found = matching(wanted, versions)
    if not _is_exact(wanted):
        found = [each for each in found if each not in yanked]
    return found[-1] if found else None


def matching(wanted: State, versions: Iterable[str]) -> list[str]:
    """Return the versions that match a version or a range, in PEP 440 order, yanked ones too.

    A range means pre-releases only if it names one.
    """
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_version
    from packaging.version import Version

    if wanted.kind == "version":
        same = canonicalize_version(wanted.value)
        return [each for each in versions if each == wanted.value or canonicalize_version(each) == same]
    allowed = SpecifierSet(wanted.value)
    found = (each for each in versions if allowed.contains(each, prereleases=bool(allowed.prereleases)))
    return sorted(found, key=Version)


def yanked_text(version: str, reason: str) -> str:
    """Return a version with the reason for which it was yanked."""
    return f"{version}: {reason}" if reason else version


def _is_exact(wanted: State) -> bool:
    """Return whether a state is one version, or a range that pins one: `==1.2.0`, but not `==1.*`."""
    only = wanted.value.startswith("==") and "," not in wanted.value and not wanted.value.endswith("*")
    return wanted.kind == "version" or only
