"""How much does a sweep of many runs cost beside the runs themselves, with two at once?"""

from __future__ import annotations

import shutil
import sys

from _bench import Row, at_most, options, own_environ, report, scratch, used

# Computes for some seconds of CPU time, and reports a metric as a program in any language does.
RUN = """
import os, sys, time
while time.process_time() < float(sys.argv[2]):
    sum(range(1000))
if file := os.environ.get("DATAPKG_METRICS"):
    with open(file, "a") as stream:
        stream.write('{"loss": %s}\\n' % sys.argv[1])
"""
BUILD_FILE = """
contents: {{results: {{results_of: train}}}}
stages:
  train:
    run: [{python}, train.py, "{{n}}", "{seconds}"]
    matrix: {{n: "range:0:{runs}:1"}}
"""


def main() -> None:
    chosen = options(__doc__, runs=(4, 100, 100), milliseconds=(50, 500, 500))
    seconds = chosen.milliseconds / 1000
    with scratch() as folder:
        (folder / "train.py").write_text(RUN)
        (folder / "build.yml").write_text(BUILD_FILE.format(python=sys.executable, seconds=seconds, runs=chosen.runs))
        numbers = folder / "numbers"
        numbers.write_text("".join(f"{n}\n" for n in range(chosen.runs)))
        each = [sys.executable, str(folder / "train.py"), "{}", str(seconds)]
        plain = used(shutil.which("xargs") or "xargs", "-P", "2", "-I", "{}", "-a", str(numbers), *each)
        rows: list[Row] = [{"what": "the runs alone, xargs -P 2", **plain.row()}]
        environ = own_environ(folder / "home")
        build = ("datapkg", "build", "me/sweep", str(folder), "--jobs", "2", "-q")
        sweep = used(*build, environ=environ)
        rows.append({"what": "datapkg build", **sweep.row(), **_ratio(sweep.cpu, plain.cpu)})
        rows.append({"what": "again, nothing changed", **used(*build, environ=environ).row()})
    report(chosen, rows)


def _ratio(cpu: float, plain: float) -> Row:
    """Return the CPU time beside that of the runs alone, which does not depend on what else the machine does."""
    return {"× the CPU time": cpu / plain, **at_most(cpu / plain, 1.1)}


if __name__ == "__main__":
    main()
