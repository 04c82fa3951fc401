"""Git hooks that install what a branch pins, after `git checkout` and `git merge`.

Each hook gets a marked block at its beginning, so that an `exit` or `exec` in a hook that is there already does not
skip it. The block never fails: a hook of git that does can make a checkout look failed.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from datapkg.building.sources import git
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.lockfile import REQUIREMENTS
from datapkg.objects.files import write_atomic

HOOKS = ("post-checkout", "post-merge")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")
_BEGIN, _END = "# >>> datapkg: {folder} >>>", "# <<< datapkg <<<"
_CREATED, _UPDATED, _UNCHANGED = "created", "updated", "unchanged"


@dataclass(frozen=True)
class HookResult:
    """A hook of git: its file, and whether it was created, updated or unchanged."""

    file: Path
    change: str


def install_hooks(folder: Path) -> list[HookResult]:
    """Let the hooks of the repository run `datapkg install --frozen` in a project folder; again changes nothing.

    Hooks that are there keep what they do. Raise `InvalidInput` outside a repository, `Conflict`, before anything is
    written, for a hook that is no shell script, is disabled or is shared with other repositories.
    """
    top, hooks, is_own = _places(folder)
    relative = Path(os.path.realpath(folder)).relative_to(os.path.realpath(top)).as_posix()
    planned = [(hooks / name, _edited(hooks / name, name, relative, is_own)) for name in HOOKS]
    results = []
    for path, (before, after) in planned:
        if after != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            # surrogateescape: the rest of a hook, in whatever encoding, stays byte for byte as it is.
            write_atomic(path, after.encode("utf-8", "surrogateescape"), path.parent, mode=0o755)
        results.append(HookResult(path, _UNCHANGED if after == before else _UPDATED if before else _CREATED))
    return results


def _places(folder: Path) -> tuple[Path, Path, bool]:
    """Return the work tree, the folder of its hooks, and whether these belong to this clone and are not committed."""
    found = git.answer(folder, "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir")
    if not found or len(lines := found.splitlines()) != 2:
        raise InvalidInput(f"{folder.absolute()} is not in a git repository", hint="git init")
    top, common = map(Path, lines)
    configured = git.answer(folder, "config", "--show-scope", "--type=path", "--get-all", "core.hooksPath", empty=1)
    # Those of the scope `command` are our own, which keep a repository from running hooks.
    values = [line.partition("\t") for line in (configured or "").splitlines()]
    paths = [path for scope, _, path in values if scope != "command"]
    if not paths:
        return top, common / "hooks", True
    hooks = Path(os.path.realpath(top / paths[-1]))
    if not any(hooks.is_relative_to(os.path.realpath(each)) for each in (top, common)):
        what = f"core.hooksPath is {hooks}, which other repositories may share; no hook was written"
        raise Conflict(what, hint="git config core.hooksPath .githooks")
    return top, hooks, hooks.is_relative_to(os.path.realpath(common))


def _block(name: str, folder: str, is_own: bool) -> str:
    """Return the lines of a hook for one project; `folder` is relative to the work tree, where hooks start."""
    # A committed hook has no path of this machine; another finds the program of this environment if it is not active.
    program = "datapkg" if not is_own else f"{quote(sys.executable)} -m datapkg"
    run = "datapkg install --frozen --quiet"
    other = f"{program} install --frozen --quiet" if is_own else 'echo "datapkg: not found, so data was not updated"'
    lines = [
        _BEGIN.format(folder=folder),
        *(['if [ "$3" = 1 ]; then # a branch, not files'] if name == "post-checkout" else []),
        f"( cd {quote(folder)} 2>/dev/null && [ -f {REQUIREMENTS} ] || exit 0",
        f"  if command -v datapkg >/dev/null 2>&1; then {run}; else {other}; fi ) >&2 || :",
        *(["fi"] if name == "post-checkout" else []),
        _END,
    ]
    return "\n".join(lines) + "\n"


def _edited(path: Path, name: str, folder: str, is_own: bool) -> tuple[str, str]:
    """Return the text of a hook now, "" if there is none, and with the block of this project."""
    block = _block(name, folder, is_own)
    if not os.path.lexists(path):
        return "", f"#!/bin/sh\n{block}"
    before = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
    first, _, rest = before.partition("\n")
    words = first.removeprefix("#!").split()
    shell = os.path.basename(words[-1]) if first.startswith("#!") and words else ""
    if path.is_symlink() or not os.access(path, os.X_OK) or shell not in _SHELLS:
        why = "a link" if path.is_symlink() else "not executable" if shell in _SHELLS else "not a shell script"
        what = f"{path} is {why}, and was left as it is; let it run datapkg install --frozen itself"
        raise Conflict(what, hint=f"edit {path}")
    begin = _BEGIN.format(folder=folder)
    if begin in before:
        head, _, tail = before.partition(f"{begin}\n")
        return before, head + block + tail.partition(f"{_END}\n")[2]
    return before, f"{first}\n{block}{rest}"
