"""Parse references to Python functions in a build file: `module:function`, of a module beside the build file."""

from __future__ import annotations

import re
from pathlib import Path

from datapkg.building.spec.model import PythonSource
from datapkg.format.texts import quoted

FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)\Z", re.ASCII)


def find_function(text: str, root: Path) -> PythonSource:
    """Return the function that `module:function` names, of a module in a folder.

    Raise `ValueError` with the reason if the text is malformed or the module does not exist.
    """
    found = FUNCTION.match(text)
    if found is None:
        raise ValueError(f"expected module:function, such as rules:prices for prices() of rules.py, got {quoted(text)}")
    shown_path = found[1].replace(".", "/") + ".py"
    path = root / shown_path
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{quoted(shown_path)} leads out of the folder of the build file")
    if not path.is_file():
        raise ValueError(f"there is no file {quoted(shown_path)}")
    return PythonSource(path, found[2])
