"""Stages run where something changed and nowhere else, and only what ended well becomes data."""

from __future__ import annotations

import _thread
import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.api.check import check
from datapkg.api.gc import free_space
from datapkg.api.sync import sync
from datapkg.building import node_builder
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.building.spec.options import BuildOptions
from datapkg.building.stages.lock import NAME, read_lock
from datapkg.errors import (
    BuildFailed,
    CheckFailed,
    DatapkgError,
    DiskFull,
    InvalidBuildFile,
    InvalidInput,
    ResourceExhausted,
    StageFailed,
)
from datapkg.format.hashing import copy_hashed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.threads import Patience
from datapkg.store.gc import Policy
from tests.static_registry import Static

REF = Ref("me", "data")
PYTHON = sys.executable

CLEAN = """
import sys
import rows
source, target, least = sys.argv[1:]
lines = open(source).read().splitlines()
kept = [line for line in lines[1:] if rows.keeps(line, int(least))]
open(target, "w").write("\\n".join([lines[0], *kept]) + "\\n")
open(sys.argv[0] + ".runs", "a").write("x")
"""
BUILD_FILE = f"""
contents:
  raw: {{file: raw.csv}}
  clean: {{stage: clean}}
stages:
  clean:
    run: "{PYTHON} clean.py {{raw}} {{out}} {{least}}"
    inputs: {{raw: contents.raw}}
    as: csv
    params: {{least: 3}}
    outputs: {{out: clean.csv}}
"""


class Project:
    """A folder with a build file, and builds of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home()
        folder.mkdir(exist_ok=True)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            stem, _, suffix = name.rpartition("_")
            path = self.folder / f"{stem}.{suffix}"
            path.write_text(text)
            os.utime(path, ns=(time.time_ns() - 10**10,) * 2)  # older than the run that is to rely on it

    def build(self, **options: object) -> BuildResult:
        return build_package(self.home, REF, self.folder, BuildOptions(**options))  # type: ignore[arg-type]

    def actions(self, **options: object) -> dict[str, str]:
        return {each["stage"]: each["action"] for each in self.build(**options).stages}

    def why(self, **options: object) -> dict[str, str]:
        return {each["stage"]: each["why"] for each in self.build(**options).stages}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write(
        raw_csv="n\n1\n5\n7\n",
        clean_py=CLEAN,
        rows_py="def keeps(line, least): return int(line) >= least\n",
        build_yml=BUILD_FILE,
    )
    return made


def test_an_output_becomes_a_node(project: Project) -> None:
    assert project.actions() == {"clean": "ran"}
    assert datapkg.load("me/data")["clean"]()["n"].tolist() == [5, 7]
    source = next(each for each in _record(project)["sources"] if each["path"] == "clean")
    assert (source["stage"], source["output"], source["transform"]) == ("clean", "out", "csv")


def test_nothing_runs_again_without_a_change(project: Project) -> None:
    first = project.build()
    assert project.actions() == {"clean": "reused"}
    assert project.build().hash == first.hash
    assert (project.folder / "clean.py.runs").read_text() == "x"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"raw_csv": "n\n1\n5\n8\n"}, "inputs.raw changed"),
        ({"clean_py": CLEAN + "# a comment\n"}, "code.clean.py changed"),
        ({"rows_py": "def keeps(line, least): return True\n"}, "imported.rows.py changed"),
        ({"build_yml": BUILD_FILE.replace("least: 3", "least: 6")}, "params.least 3 → 6"),
    ],
    ids=["input", "code", "helper module", "parameter"],
)
def test_a_change_runs_it_again_and_changing_it_back_does_not(
    project: Project, files: dict[str, str], why: str
) -> None:
    before = {name: (project.folder / name.replace("_", ".")).read_text() for name in files}
    first = project.build()
    project.write(**files)
    assert project.why() == {"clean": why}
    project.write(**before)
    assert project.actions() == {"clean": "reused"}
    assert project.build().hash == first.hash


def test_a_home_below_the_build_folder(project: Project) -> None:
    project.home = Home({**os.environ, "DATAPKG_HOME": str(project.folder / ".home")})
    project.build()
    assert project.actions() == {"clean": "reused"}


def test_what_does_not_matter_runs_nothing(project: Project) -> None:
    project.build()
    os.utime(project.folder / "raw.csv")
    os.utime(project.folder / "clean.py")
    project.write(other_py="print()\n", build_yml=BUILD_FILE + "meta: {title: Another}\n")
    assert project.actions() == {"clean": "reused"}


def test_chosen_environment_variables_matter_and_are_not_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(build_yml=BUILD_FILE.replace("    as: csv", "    as: csv\n    env: [CITY, TZ]"))
    monkeypatch.setenv("CITY", "a-secret-town")
    project.home = Home()
    project.build()
    monkeypatch.setenv("OTHER", "x")
    project.home = Home()
    assert project.actions() == {"clean": "reused"}
    monkeypatch.setenv("CITY", "elsewhere")
    project.home = Home()
    assert project.why() == {"clean": "env.CITY changed"}
    lock = (project.folder / NAME).read_text()
    assert "secret" not in lock + str(_record(project))


def test_a_function_of_several_outputs_and_a_folder(project: Project) -> None:
    project.write(
        split_py="""
import pandas as pd
def split(rows, parts, report, size):
    frame = pd.read_parquet(rows)
    for number in range(0, len(frame), size):
        (parts / "by size").mkdir(exist_ok=True)
        frame[number:number + size].to_csv(parts / "by size" / f"p{number}.csv", index=False)
    report.write_text(f"{len(frame)} rows")
""",
        build_yml="""
contents:
  raw: {file: raw.csv}
  parts: {stage: split, output: parts}
  report: {stage: split, output: report}
stages:
  split:
    python: split:split
    inputs: {rows: contents.raw}
    params: {size: 2}
    outputs: {parts: parts/, report: report.txt}
""",
    )
    assert project.actions() == {"split": "ran"}
    package = datapkg.load("me/data")
    assert [package[f"parts/by size/p{number}"]()["n"].tolist() for number in (0, 2)] == [[1, 5], [7]]
    assert package["report"]().read_text() == "3 rows"
    assert package["report"]().name == "report.txt"


def test_stages_need_each_other_in_any_order(project: Project) -> None:
    project.write(
        upper_py="import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read().upper())\n",
        build_yml=f"""
stages:
  last:
    run: [{PYTHON}, upper.py, "{{text}}", "{{out}}"]
    inputs: {{text: contents.middle}}
    outputs: {{out: last.txt}}
  first:
    run: [{PYTHON}, -c, "import sys; open(sys.argv[1], 'w').write('some words')", "{{out}}"]
    outputs: {{out: first.txt}}
contents:
  middle: {{stage: first}}
  last: {{stage: last}}
""",
    )
    assert list(project.actions()) == ["first", "last"]
    assert datapkg.load("me/data")["last"]().read_text() == "SOME WORDS"


def test_inputs_from_paths_and_packages(project: Project) -> None:
    build_package(project.home, Ref("me", "other"), {"t": pd.DataFrame({"a": [1, 2]})})
    (project.folder / "texts" / "deep").mkdir(parents=True)
    (project.folder / "texts" / "deep" / "a.txt").write_text("a")
    project.write(
        show_py="""
import os, sys
table, texts, out = sys.argv[1:]
found = sorted(os.path.relpath(os.path.join(root, each), texts) for root, _, files in os.walk(texts) for each in files)
writable = [each for each in (table, texts) if os.stat(each).st_mode & 0o222]
open(out, "w").write(f"{os.path.basename(table)} {found} {len(writable) <= 1}")
""",
        build_yml=f"""
contents: {{seen: {{stage: show}}}}
stages:
  show:
    run: "{PYTHON} show.py {{table}} {{texts}} {{out}}"
    inputs: {{table: me/other/t, texts: texts}}
    outputs: {{out: seen.txt}}
""",
    )
    project.build()
    assert datapkg.load("me/data")["seen"]().read_text() == "t.parquet ['deep/a.txt'] True"
    build_package(project.home, Ref("me", "other"), {"t": pd.DataFrame({"a": [1, 3]})})
    assert project.why() == {"show": "inputs.table changed"}
    (project.folder / "texts" / "b.txt").write_text("b")
    assert project.why() == {"show": "inputs.texts changed"}


def test_a_failure_gives_the_end_of_the_output_and_no_data(project: Project) -> None:
    project.build()
    before = project.home.store.refs.current(REF)
    project.write(rows_py="print('look here')\ndef keeps(line, least): raise ValueError(line)\n")
    with pytest.raises(StageFailed, match=r"look here(.|\n)*ValueError: 1") as caught:
        project.build()
    assert caught.value.hint.startswith("see all of its output: less ")
    assert "ended with exit code 1" in caught.value.message
    assert Path(caught.value.detail["log"]).is_file()
    assert project.home.store.refs.current(REF) == before


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("pass", "did not write the file of its output 'out'"),
        ("import os, sys; os.symlink('/etc/hostname', sys.argv[1])", "is not a regular file"),
        ("import os; os.kill(os.getpid(), 15)", "was ended by SIGTERM"),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
    ],
    ids=["no output", "a link", "killed", "too long"],
)
def test_what_is_no_result(project: Project, code: str, problem: str) -> None:
    project.write(
        build_yml=f"""
contents: {{out: {{stage: bad}}}}
stages:
  bad: {{run: [{PYTHON}, -c, "{code}", "{{out}}"], outputs: {{out: out.txt}}, timeout: 0.5}}
"""
    )
    with pytest.raises(StageFailed, match=problem):
        project.build()
    assert not (project.folder / NAME).exists()


def test_a_stage_is_retried(project: Project) -> None:
    code = "import os, sys; os.path.exists('seen') or sys.exit(open('seen', 'w').close() or 3); open(sys.argv[1], 'w')"
    project.write(
        build_yml=f"""
contents: {{out: {{stage: shaky}}}}
stages:
  shaky: {{run: [{PYTHON}, -c, "{code}", "{{out}}"], outputs: {{out: out.txt}}, retries: 1}}
"""
    )
    assert project.actions() == {"shaky": "ran"}


def test_others_go_on_with_keep_going(project: Project) -> None:
    project.write(
        build_yml=f"""
contents: {{a: {{stage: bad}}, b: {{stage: after}}, c: {{stage: good}}}}
stages:
  bad: {{run: [{PYTHON}, -c, "raise SystemExit(1)"], outputs: {{out: a.txt}}}}
  after: {{run: [{PYTHON}, -c, ""], inputs: {{a: stages.bad}}, outputs: {{out: b.txt}}}}
  good: {{run: [{PYTHON}, -c, "import sys; open(sys.argv[1], 'w')", "{{out}}"], outputs: {{out: c.txt}}}}
"""
    )
    done = project.build(keep_going=True)
    assert {each["stage"]: each["action"] for each in done.stages} == {
        "bad": "failed",
        "after": "failed",
        "good": "ran",
    }
    assert done.left_out["stages.after"] == "stage 'after' needs 'bad', which failed"
    assert [node.path for node in datapkg.load("me/data").__source__.manifest.nodes] == ["c"]
    with pytest.raises(BuildFailed, match="stage 'bad'"):
        project.build()


def test_a_dry_run_says_what_would_run_and_runs_nothing(project: Project) -> None:
    assert project.actions(dry_run=True) == {"clean": "would run"}
    assert not (project.folder / "clean.py.runs").exists()
    assert project.home.store.refs.current(REF) is None
    project.build()
    assert project.actions(dry_run=True) == {"clean": "reused"}


def test_from_runs_a_stage_and_what_needs_it_again(project: Project) -> None:
    project.write(
        build_yml=BUILD_FILE
        + """
  copy: {run: [cp, "{a}", "{out}"], inputs: {a: stages.clean}, outputs: {out: copy.csv}}
  alone: {run: [touch, "{out}"], outputs: {out: alone.csv}}
"""
    )
    project.build()
    assert project.actions(again=("clean",)) == {"alone": "reused", "clean": "ran", "copy": "ran"}
    with pytest.raises(InvalidInput, match="there is no stage 'claen'; did you mean 'clean'") as caught:
        project.build(again=("claen",))
    assert caught.value.hint == f"datapkg graph {project.folder / 'build.yml'}"


def test_from_without_any_stage_is_refused(project: Project) -> None:
    project.write(build_yml="contents: {}\n")
    project.build()
    with pytest.raises(InvalidInput, match="there is no stage 'clean'"):
        project.build(again=("clean",))


def test_an_isolated_stage_sees_its_code_and_inputs_only(project: Project) -> None:
    stage = BUILD_FILE.replace("    as: csv", "    as: csv\n    isolated: true")
    project.write(build_yml=stage)
    with pytest.raises(StageFailed, match=r"clean\.py"):
        project.build()
    project.write(build_yml=stage.replace("    as: csv", "    as: csv\n    code: [clean.py, rows.py]"))
    project.build()
    assert datapkg.load("me/data")["clean"]()["n"].tolist() == [5, 7]
    assert not (project.folder / "clean.py.runs").exists()
    project.write(rows_py="def keeps(line, least): return True\n")
    assert project.why() == {"clean": "code.rows.py changed"}


def test_a_shell_gets_quoted_values(project: Project) -> None:
    project.write(
        build_yml="""
contents: {out: {stage: shell}}
stages:
  shell:
    run: "printf '%s' {word} | tr a-z A-Z > {out}; echo {{x}} >> {out}"
    shell: true
    params: {word: "it's; echo no"}
    outputs: {out: out.txt}
"""
    )
    project.build()
    assert datapkg.load("me/data")["out"]().read_text() == "IT'S; ECHO NO{x}\n"


def test_the_lock_has_a_line_for_each_stage(project: Project) -> None:
    project.build()
    lines = (project.folder / NAME).read_text().splitlines()
    assert lines[:3] == ["{", '"datapkg": 1,', '"stages": {']
    assert [line.partition(":")[0] for line in lines[3:-1]] == ['"clean"']
    (entry,) = read_lock(project.folder).values()
    assert entry["known"]["params.least"] == "3"
    assert entry["files"].keys() == {"out"}


def test_a_result_is_shared_by_packages_and_kept_by_gc(project: Project) -> None:
    project.build()
    done = build_package(project.home, Ref("me", "second"), project.folder)
    assert [each["action"] for each in done.stages] == ["reused"]
    free_space(project.home, Policy(now=True))
    assert project.actions() == {"clean": "reused"}


def test_a_killed_build_goes_on_after_the_stages_that_were_done(project: Project) -> None:
    project.write(
        slow_py="import sys, time\nopen('started', 'w').close()\ntime.sleep(30)\nopen(sys.argv[1], 'w')\n",
        build_yml=BUILD_FILE
        + f"""
  slow: {{run: [{PYTHON}, slow.py, "{{out}}"], inputs: {{a: stages.clean}}, outputs: {{out: slow.txt}}}}
""",
    )
    command = [PYTHON, "-m", "datapkg", "build", str(REF), str(project.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (project.folder / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    project.write(slow_py="import sys\nopen(sys.argv[1], 'w')\n")
    assert project.actions() == {"clean": "reused", "slow": "ran"}


def test_an_interrupt_ends_what_runs(project: Project) -> None:
    project.write(
        slow_py="import os, time\nopen('started', 'w').write(str(os.getpid()))\ntime.sleep(60)\n",
        build_yml=f"""
contents: {{}}
stages:
  slow: {{run: [{PYTHON}, slow.py], outputs: {{out: slow.txt}}}}
""",
    )
    command = [PYTHON, "-m", "datapkg", "build", str(REF), str(project.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = project.folder / "started"
    while not (started.exists() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ("{a: {run: x, outputs: {o: o}, inputs: {i: stages.a}}}", "stages.a: needs its own output: a → a"),
        ("{a: {run: x, outputs: {o: o}, inputs: {i: stages.b}}}", "there is no stage 'b'"),
        ("{a: {run: x, outputs: {o: o}, inputs: {i: stages.a.p}}}", "stage 'a' has no output 'p'"),
        ("{a: {run: x, outputs: {o: o}, inputs: {i: contents.rew}}}", "there is no node 'rew' in contents; did you"),
        ("{a: {run: x, outputs: {o: o}, inputs: {i: nothing.csv}}}", "'nothing.csv' is neither a file here nor"),
        ("{a: {run: x, outputs: {o: ../o}}}", "expected the name of a file"),
        ("{a: {run: 'x {q}', outputs: {o: o}}}", "{q} is not an input, param or output"),
        ("{a: {run: x, outputs: {o: o}, params: {o: 1}}}", "has two things of the name 'o'"),
        ("{a: {run: x, outputs: {o: o}, params: {'../p': 1}}}", "stages.a: '../p' is not a valid name of a param"),
        ("{a: {run: x, outputs: {o: o}, foreach: [{'p q': 1}]}}", "stages.a: 'p q' is not a valid name of a param"),
        ("{a: {outputs: {o: o}}}", "has neither `run` nor `python`"),
        ("{a: {run: x}}", "has no `outputs`"),
        ("{a: {run: x, outputs: {o: o}, timeout: soon}}", "expected a duration such as 90s"),
        ("{a: {run: x, outputs: {o: o}, timeout: ''}}", "expected a duration such as 90s, 10m or 2h, got nothing"),
        ("{a: {run: x, outputs: {o: o}, retries: ''}}", "stages.a.retries: expected a number, got nothing"),
        ("{a: {run: x, outputs: {o: o}, retires: 2}}", "unknown key 'retires'; did you mean 'retries'"),
        ("{a: {run: x, outputs: {o: o}, as: xml}}", "expected parquet, csv, arrow"),
        ("{a-b: {run: x, outputs: {o: o}}}", "letters, digits and underscores"),
        ("{a: {python: nope:f, outputs: {o: o}}}", "there is no file 'nope.py'"),
    ],
)
def test_mistakes_are_named_with_their_line(project: Project, stages: str, problem: str) -> None:
    project.write(build_yml=f"contents:\n  raw: {{file: raw.csv}}\nstages: {stages}\n")
    with pytest.raises(InvalidBuildFile) as caught:
        project.build()
    assert problem in caught.value.message
    assert "build.yml:3: stages" in caught.value.message


CHECKED = (
    BUILD_FILE.replace("{stage: clean}", "{stage: clean, checks: [small]}") + "checks: {small: {column: n, max: 6}}\n"
)


def test_checks_of_nodes_of_stages(project: Project) -> None:
    project.write(build_yml=CHECKED)
    with pytest.raises(CheckFailed, match=r"small: clean\.n: 1 of 2 rows is above 6"):
        project.build()
    (result,) = check(project.home, project.folder).results
    assert (result["path"], result["outcome"], result["wrong"]) == ("clean", "failed", 1)
    assert (project.folder / "clean.py.runs").read_text() == "x", "what the build ran is reused"


def test_a_check_runs_the_stages_that_it_needs_and_makes_no_package(project: Project) -> None:
    project.write(build_yml=CHECKED)
    assert [each["outcome"] for each in check(project.home, project.folder).results] == ["failed"]
    assert project.home.store.refs.current(REF) is None
    project.write(build_yml=BUILD_FILE)
    assert project.actions() == {"clean": "reused"}


def test_only_builds_and_checks_run_stages(project: Project, static: Static) -> None:
    project.home = static.home()
    static.push(Ref("ada", "other"), "1")
    with pytest.raises(InvalidInput, match="stages are run by a build and by a check only"):
        sync(project.home, project.folder, REF)


def test_a_node_of_no_stage(project: Project) -> None:
    project.write(build_yml=BUILD_FILE.replace("{stage: clean}", "{stage: claen}"))
    with pytest.raises(InvalidBuildFile, match=r"contents\.clean: there is no stage 'claen'; did you mean 'clean'"):
        project.build()


def _record(project: Project) -> dict[str, object]:
    current = project.home.store.refs.current(REF)
    assert current
    return project.home.store.record(REF, current.hash) or {}


def test_two_builds_beside_each_other_that_give_the_same_bytes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "n\n" + "1\n" * 700_000  # too much for a pack: the object is a file that the other build replaces
    project.write(big_py=f"import sys; open(sys.argv[1], 'w').write('n\\n' + '1\\n' * {data.count('1')})\n")
    project.write(
        build_yml="contents: {big: {stage: big}}\n"
        f"stages: {{big: {{run: '{PYTHON} big.py {{out}}', outputs: {{out: big.csv}}}}}}\n"
    )
    true_read, ours = node_builder.read_source, []

    def read(spec: NodeSpec, source: FileSource, *rest: Any) -> Any:
        found = true_read(spec, source, *rest)
        ours.append(os.stat(source.path).st_ino)
        Home().store.objects.put(io.BytesIO(data.encode()))
        assert os.stat(source.path).st_ino != ours[0], "another file has its place"
        return found

    monkeypatch.setattr(node_builder, "read_source", read)
    project.build()
    assert len(ours) == 1
    assert len(datapkg.load("me/data")["big"]()) == data.count("1")


FOLDER = """
contents: {parts: {stage: split}}
stages:
  split: {python: split:split, outputs: {parts: parts/}}
"""


def test_two_files_of_an_output_that_would_be_one_node(project: Project) -> None:
    project.write(
        split_py="def split(parts):\n    for name in ('a.csv', 'a.tsv'): (parts / name).write_text('n\\n1\\n')\n",
        build_yml=FOLDER,
    )
    with pytest.raises(
        BuildFailed, match=r"'parts/a.csv' and 'parts/a.tsv' of stage 'split' .* node 'parts/a'"
    ) as found:
        project.build()
    assert found.value.hint.endswith("transform: id")
    project.write(build_yml=FOLDER.replace("{stage: split}", "{stage: split, transform: id}"))
    project.build()
    assert list(datapkg.load("me/data").parts) == ["a.csv", "a.tsv"]


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, DiskFull, "datapkg gc"),
        (errno.EMFILE, ResourceExhausted, "ulimit -n"),
        (errno.EACCES, StageFailed, "ls -ld "),
    ],
)
def test_an_error_of_the_system_while_an_output_is_taken(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[DatapkgError], hint: str
) -> None:
    def fail(stream: object, objects: object) -> None:
        raise OSError(number, os.strerror(number), "/store/tmp/x")

    with monkeypatch.context() as patched:
        patched.setattr("datapkg.building.stages.run.put_file", fail)
        with pytest.raises(kind) as found:
            project.build()
    assert found.value.message.startswith("stage 'clean' cannot run: ")
    assert os.strerror(number) in found.value.message
    assert hint in found.value.hint
    assert project.actions() == {"clean": "ran"}


def test_names_of_runs_that_are_too_long_for_folders_of_logs(project: Project) -> None:
    name, values = "s" * 64, ["\N{FISH}" * 60, "\N{FISH}" * 59 + "x"]
    code = "import sys; print(sys.argv[1]); open(sys.argv[2], 'w')"
    project.write(
        build_yml=f"contents: {{all: {{stage: {name}}}}}\n"
        f'stages: {{{name}: {{run: [{PYTHON}, -c, "{code}", "{{item}}", "{{out}}"], foreach: {values},'
        " outputs: {out: o.txt}}}\n"
    )
    logs = [Path(each["log"]) for each in project.build().stages]
    assert [log.read_text() for log in logs] == [f"{value}\n" for value in values]


def test_what_lies_beside_an_output_is_named(project: Project) -> None:
    project.write(
        build_yml="""
contents: {out: {stage: messy}}
stages:
  messy: {shell: true, run: "cd $(dirname {out}); touch o.txt b a", outputs: {out: o.txt}}
"""
    )
    done = project.build()
    (warning,) = [each for each in done.warnings if "stage" in each]
    assert warning.startswith("stage 'messy': 'a' and 1 more beside the path of its output 'out' belongs to no output")
    assert project.actions() == {"messy": "reused"}


def test_code_that_changes_while_it_runs_is_named(project: Project) -> None:
    project.write(clean_py=CLEAN + "open('rows.py', 'a').write('# more\\n')\n")
    done = project.build()
    assert "stage 'clean': its code changed while it ran: 'rows.py'; the next build runs it again" in done.warnings
    assert project.actions() == {"clean": "ran"}


def test_a_command_that_fails_on_a_full_disk(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write(
        build_yml="contents: {out: {stage: bad}}\n"
        "stages: {bad: {shell: true, run: 'echo no room; exit 3', outputs: {out: o}}}\n"
    )
    with pytest.raises(StageFailed):
        project.build()
    monkeypatch.setattr("datapkg.building.stages.run.free_bytes", lambda folder: 10)
    with pytest.raises(
        DiskFull, match=r"exit code 3, and the disk of .* has 10 bytes free; the end .*\nno room"
    ) as found:
        project.build()
    assert "DATAPKG_HOME" in found.value.hint


@pytest.mark.parametrize("known", [[1], "text", 7, {"run": 1}])
def test_an_entry_of_the_lock_that_says_nothing_is_as_none(project: Project, known: object) -> None:
    (project.folder / NAME).write_text(json.dumps({"datapkg": 1, "stages": {"clean": {"known": known}}}))
    assert project.actions() == {"clean": "ran"}


def test_a_file_that_is_written_while_it_is_copied_does_not_arrive_under_its_old_hash(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(source: Any, target: Any) -> tuple[str, int]:
        (project.folder / "raw.csv").write_text("n\n9\n9\n9\n")
        return copy_hashed(source, target)

    project.write(build_yml=BUILD_FILE.replace("{raw: contents.raw}", "{raw: raw.csv}"))
    monkeypatch.setattr("datapkg.building.stages.inputs.copy_hashed", meanwhile)
    with pytest.raises(BuildFailed, match=r"'raw\.csv' changed "):
        project.build()


def test_stages_whose_threads_never_begin_are_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where memory has run out: whoever waits for them runs them, one after the other."""
    project.write(
        build_yml="""
contents: {a: {stage: a}, b: {stage: b}, c: {stage: c}}
stages:
  a: {run: "cp rows.py {out}", outputs: {out: a.py}}
  b: {run: "cp rows.py {out}", outputs: {out: b.py}}
  c: {run: "cp {a} {out}", inputs: {a: stages.a.out}, outputs: {out: c.py}}
"""
    )
    monkeypatch.setattr(Patience, "seconds", 0.05)
    monkeypatch.setattr("datapkg.building.stages.schedule.PATIENCE_S", 0.05)
    for module, name in ((_thread, "start_new_thread"), (threading, "_start_new_thread")):
        monkeypatch.setattr(module, name, lambda *_: 0)
    assert project.actions() == {"a": "ran", "b": "ran", "c": "ran"}
