"""Folders of libraries that a package manager installed: they are beside the data of a project, not part of them."""

from __future__ import annotations

import os

_VENV_FILE = "pyvenv.cfg"  # https://docs.python.org/3/library/venv.html


def installed_by(name: str, path: str) -> str | None:
    """Return what the folder at a path is that holds installed libraries; None for another folder."""
    if name == "node_modules":
        return "installed by npm"
    return "a virtual environment of Python" if os.path.lexists(os.path.join(path, _VENV_FILE)) else None
