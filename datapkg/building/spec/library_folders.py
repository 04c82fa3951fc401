"""Recognize folders of installed libraries, which are beside the data of a project but not part of it."""

from __future__ import annotations

import os

_VENV_FILE = "pyvenv.cfg"  # https://docs.python.org/3/library/venv.html


def installed_by(name: str, path: str) -> str | None:
    """Return the kind of a folder of installed libraries, as the reason for skipping it; None for other folders."""
    if name == "node_modules":
        return "installed by npm"
    return "a virtual environment of Python" if os.path.lexists(os.path.join(path, _VENV_FILE)) else None
