"""Sources are read concurrently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.building.builds import write

CODE = """
import sys
from pathlib import Path

from datapkg.building import scheduler
from datapkg.building.pipeline import build_package
from datapkg.building.spec.from_value import spec_for
from datapkg.objects.memory import MemoryObjects

make = scheduler._make
seen = set()

def watched(*given):
    seen.update({"numpy", "pandas", "pyarrow"} - set(sys.modules))
    return make(*given)

scheduler._make = watched
build_package(spec_for(Path(sys.argv[1])), MemoryObjects(), previous=None, find_package=lambda ref: None)
print(sorted(seen))
"""


def test_pandas_is_imported_before_threads_start(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.csv": "a\n1\n" for number in range(4)})
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
