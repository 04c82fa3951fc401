"""Pipelines of other tools become build files that build; everything that is left out is named with its line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.building.converters.get_started import write_project
from tests.building.sources.git_server import commit, git, git_server
from tests.cli.conftest import Run
from tests.conftest import find_program

PYTHON = sys.executable


def write(text: str, name: str = "dvc.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def converted(run: Run, *words: str) -> list[tuple[int, str]]:
    """Convert, and return lines and keys of what is not mapped."""
    ended = run("import-from", *words, "--json")
    assert ended.code == 0, ended.err
    return [(each["line"], each["key"]) for each in ended.json["unmapped"]]


def exported(run: Run) -> Path:
    ended = run("build", "me/p", "build.yml")
    assert ended.code == 0, (ended.err, Path("build.yml").read_text())
    assert run("export", "me/p", "out", "-q").code == 0
    return Path("out")


@pytest.mark.big
@pytest.mark.needs("dvc", "git")
def test_get_started_of_dvc_gives_the_same_bytes(run: Run) -> None:
    write_project(Path())
    dvc = find_program("dvc")
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}"}
    for words in (["git", "init", "-q"], [dvc, "init", "-q"], [dvc, "add", "-q", "data/data.xml"], [dvc, "repro"]):
        subprocess.run([str(word) for word in words], check=True, env=environ, capture_output=True)
    Path("data/data.xml").unlink()  # the cache has it
    ended = run("import-from", "dvc", ".", "--json")
    assert ended.json["restored"] == ["data/data.xml"]
    assert (ended.json["nodes"], ended.json["stages"], ended.json["missing"]) == (6, 4, [])
    assert [each["line"] for each in ended.json["unmapped"]] == [10, 31, 40, 43]
    shutil.copytree("data", "theirs/data", ignore=shutil.ignore_patterns(".gitignore", "*.dvc"))
    shutil.copytree("eval", "theirs/eval", ignore=shutil.ignore_patterns(".gitignore"))
    shutil.copy("model.json", "theirs")
    for name in ("data/prepared", "data/features", "eval"):
        shutil.rmtree(name)
    Path("model.json").unlink()
    out = exported(run)
    theirs = {path.relative_to("theirs"): path.read_bytes() for path in Path("theirs").rglob("*") if path.is_file()}
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == theirs
    assert len(theirs) == 8
    # A param of one stage runs that stage again, and those that need it.
    text = Path("build.yml").read_text()
    assert text.count("n_est: 50") == 1
    Path("build.yml").write_text(text.replace("n_est: 50", "n_est: 51"))
    ran = run("build", "me/p", "build.yml", "--json").json["stages"]
    assert {each["stage"] for each in ran if each["action"] == "ran"} == {"train", "evaluate"}


SIMPLE = f"""\
vars:
  - lists: [a, b]
  - sizes: {{small: {{n: 1}}, large: {{n: 2}}}}
stages:
  copy:
    foreach: ${{lists}}
    do:
      cmd: {PYTHON} copy.py in/${{item}}.txt out/${{item}}.txt --lr=${{train.lr}}
      deps: ['in/${{item}}.txt', copy.py]
      outs: ['out/${{item}}.txt']
  sized:
    foreach: ${{sizes}}
    do:
      cmd: echo ${{key}} ${{item.n}} "\\${{HOME}}" | cut -d' ' -f1,2 > ${{key}}.txt
      outs: [{{"${{key}}.txt": {{persist: true, desc: how large}}}}]
  grid:
    matrix: {{x: [1, 2], y: [u, {{v: 3}}]}}
    cmd: echo ${{item.x}} ${{item.y}} > ${{key}}.log
    outs: ["${{key}}.log"]
  both:
    wdir: out
    cmd:
      - mkdir ../both
      - cat a.txt b.txt > ../both/sum.txt
      - {PYTHON} -c "import json, sys; print(json.load(open('../params.yaml')))" >> ../both/sum.txt
    deps: [a.txt, b.txt]
    params:
      - ../params.yaml: [train]
    outs: [../both]
    frozen: true
    unheard: of
"""


def test_templates_loops_folders_and_lists_of_commands(run: Run) -> None:
    write(SIMPLE)
    write("train: {lr: 1e-3, flag: no}\nother: 1\n", "params.yaml")
    for name in "ab":
        write(f"{name}\n", f"in/{name}.txt")
    write(
        "import sys, lower\nopen(sys.argv[2], 'w').write(lower.of(open(sys.argv[1]).read()) + sys.argv[3])\n", "copy.py"
    )
    write("def of(text):\n    return text.lower()\n", "lower.py")
    left = converted(run, "dvc", ".")
    assert left == [
        (15, "stages.sized.do.outs.${key}.txt.persist"),
        (30, "stages.both.frozen"),
        (31, "stages.both.unheard"),
    ]
    out = exported(run)
    texts = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*.*")}
    params = "{'train': {'lr': 0.001, 'flag': 'no'}}\n"
    assert texts == {
        "out/a.txt": "a\n--lr=0.001",
        "out/b.txt": "b\n--lr=0.001",
        "small.txt": "small 1\n",
        "large.txt": "large 2\n",
        "1-u.log": "1 u\n",
        "2-u.log": "2 u\n",
        "1-y1.log": "1 --v 3\n",
        "2-y1.log": "2 --v 3\n",
        "both/sum.txt": "a\n--lr=0.001b\n--lr=0.001" + params,
    }
    assert "would run" not in run("build", "me/p", "--dry-run").out


def test_outputs_without_a_header_are_kept_as_files(run: Run) -> None:
    write(f"stages:\n  s:\n    cmd: {PYTHON} -c 1\n    outs: [ids, named.csv, folder]\n".replace("ids", "ids.tsv"))
    for name in ("ids.tsv", "folder/deep.csv"):
        mark = "," if name.endswith("csv") else "\t"
        write("".join(f"{number}{mark}word {number}\n" for number in (0, 1, 4, 7, 9)), name)
    write("id,word\n1,a\n2,b\n3,c\n4,d\n", "named.csv")
    assert converted(run, "dvc", ".") == [(4, "stages.s.outs"), (4, "stages.s.outs")]
    contents = yaml.safe_load(Path("build.yml").read_text())["contents"]
    kept = {name: each.get("transform") for name, each in contents.items()}
    assert kept == {"ids.tsv": "id", "named": None, "folder": "id"}


def tracked(data: bytes, path: str, *, cache: str = ".dvc/cache/files/md5") -> str:
    """Write a `.dvc` file for data, and the data into a cache; return the MD5."""
    md5 = hashlib.md5(data).hexdigest()
    if cache:
        kept = Path(cache, md5[:2], md5[2:])
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
    write(f"outs:\n- md5: {md5}\n  size: {len(data)}\n  hash: md5\n  path: {Path(path).name}\n", f"{path}.dvc")
    return md5


def test_data_of_the_cache_of_a_folder_remote_and_missing(run: Run) -> None:
    tracked(b"a\n1\n", "data/cached.csv")
    write("[core]\n    remote = far\n['remote \"far\"']\n    url = ../../far\n", ".dvc/config")
    tracked(b"b\n2\n", "data/remote.csv", cache="../far/files/md5")
    tracked(b"c\n3\n", "data/none.csv", cache="")
    ended = run("import-from", "dvc", ".")
    assert ended.code == 0, ended.err
    assert "get them: dvc pull data/none.csv.dvc\n" in ended.err
    assert Path("data/cached.csv").read_text() == "a\n1\n"
    assert Path("data/remote.csv").read_text() == "b\n2\n"
    assert run("build", "me/p").code == 2
    write("c\n3\n", "data/none.csv")
    assert run("build", "me/p").code == 0
    assert run("cat", "me/p/data/none").out == "c\n3\n"


def test_folders_that_dvc_tracks(run: Run) -> None:
    files = {"x.txt": b"x", "below/y.txt": b"y"}
    listing = [{"md5": tracked(data, f"gone/{Path(name).name}"), "relpath": name} for name, data in files.items()]
    shutil.rmtree("gone")
    md5 = tracked(json.dumps(listing).encode(), "pictures")
    path = Path("pictures.dvc")
    path.write_text(path.read_text().replace(md5, f"{md5}.dir"))
    Path(".dvc/cache/files/md5", md5[:2], md5[2:]).rename(Path(".dvc/cache/files/md5", md5[:2], f"{md5[2:]}.dir"))
    assert run("import-from", "dvc", ".", "--json").json["restored"] == ["pictures"]
    out = exported(run)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.txt")} == {
        "pictures/x.txt",
        "pictures/below/y.txt",
    }


@pytest.mark.parametrize("name", ["../../stolen", "/etc/stolen", "a/../../../stolen", ""])
def test_a_listing_that_leads_out_is_refused(run: Run, name: str) -> None:
    md5 = tracked(b"x", "gone")
    Path("gone.dvc").unlink()
    listing = json.dumps([{"md5": md5, "relpath": name}]).encode()
    whole = hashlib.md5(listing).hexdigest()
    write(f"outs:\n- md5: {whole}.dir\n  path: d\n", "d.dvc")
    write(listing.decode(), f".dvc/cache/files/md5/{whole[:2]}/{whole[2:]}.dir")
    ended = run("import-from", "dvc", ".")
    assert ended.code == 2, ended.err
    assert "leads out of the folder" in ended.err
    assert not Path("../stolen").exists()
    assert not Path("build.yml").exists()


def test_corrupt_cache_writes_nothing(run: Run) -> None:
    md5 = tracked(b"a\n1\n", "data.csv")
    Path(".dvc/cache/files/md5", md5[:2], md5[2:]).write_bytes(b"a\n2\n")
    ended = run("import-from", "dvc", ".")
    assert ended.code == 6, ended.err
    assert "expected MD5" in ended.err
    assert sorted(path.name for path in Path().iterdir()) == [".dvc", "data.csv.dvc"]


def test_imports_keep_their_address(run: Run) -> None:
    md5 = hashlib.md5(b"a\n1\n").hexdigest()
    out = f"outs:\n- md5: {md5}\n  hash: md5\n  path: a.csv\n"
    write(f"deps:\n- path: https://data.example.org/a.csv\n  etag: '\"x\"'\n{out}frozen: true\n", "a.csv.dvc")
    repo = "deps:\n- path: b.csv\n  repo:\n    url: https://git.example.org/r.git\n    rev_lock: 0a\n"
    write(repo + out.replace("a.csv", "b.csv"), "b.csv.dvc")
    write("a\n1\n", "b.csv")
    assert converted(run, "dvc", ".") == [(7, "outs[0].path"), (8, "frozen"), (3, "deps[0].repo")]
    text = Path("build.yml").read_text().replace(f'"{md5}"', md5)
    assert f'  a: {{url: "https://data.example.org/a.csv", md5: {md5}}}\n' in text
    write("a\n1\n", "a.csv")
    assert converted(run, "dvc", ".", "--force") == [(8, "frozen"), (3, "deps[0].repo")]
    sha256 = hashlib.sha256(b"a\n1\n").hexdigest()
    assert f'/a.csv", sha256: {sha256}, md5: {md5}}}' in Path("build.yml").read_text().replace(
        '"' + md5 + '"', md5
    ).replace('"' + sha256 + '"', sha256)
    assert "  b: {file: b.csv}\n" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stages: [a]\n", "dvc.yaml:1: stages: expected a mapping"),
        ("stages: {a: 1}\n", "dvc.yaml:1: stages.a: expected a mapping"),
        ("stages:\n  a: {outs: [x]}\n", "dvc.yaml:2: stages.a.cmd: expected a command"),
        ("stages:\n  a: {cmd: 'x ${nope}', outs: [x]}\n", "dvc.yaml:2: stages.a: ${nope} has no value"),
        ("stages:\n  a: {foreach: 3, do: {cmd: x}}\n", "`foreach` is neither a list nor a mapping"),
        (
            f"stages:\n  a: {{matrix: {{{', '.join(f'x{n}: [1, 2]' for n in range(20))}}}, cmd: x}}\n",
            "more than 10,000",
        ),
        ("a: &a [x, x]\nb: &b [*a, *a]\nstages: {s: *nope}\n", "there is no anchor"),
        ("a: &a [" + "x, " * 500 + "x]\nb: &b [" + "*a, " * 500 + "*a]\nstages: {}\n", "more than 250,000 values"),
        ("x: " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("a:\n\tb: x", "dvc.yaml:2:1: "),
        (f"vars: [{{x: {'y' * 4000}}}]\nstages:\n  a: {{cmd: '{'${x}' * 4000}', outs: [z]}}\n", "more than 1 MiB"),
    ],
)
def test_mistakes_have_their_line(run: Run, text: str, expected: str) -> None:
    write(text)
    ended = run("import-from", "dvc", ".")
    assert ended.code == 2, ended.err
    assert expected in ended.err
    assert not Path("build.yml").exists()


def test_nothing_is_overwritten_or_written_elsewhere(run: Run) -> None:
    write(f"stages: {{a: {{cmd: '{PYTHON} -c 1', outs: [a.txt]}}}}\n")
    write("contents: {}\n", "build.yml")
    assert run("import-from", "dvc", ".").code == 4
    assert Path("build.yml").read_text() == "contents: {}\n"
    assert run("import-from", "dvc", ".", "-o", "../x.yml").code == 2
    assert run("import-from", "dvc", ".", "-o", "other.yml").code == 0
    assert run("import-from", "dvc", ".", "--force").code == 0
    assert Path("build.yml").read_text() == Path("other.yml").read_text()
    assert run("import-from", "dvc", "nowhere").code == 3
    Path("empty").mkdir()
    assert run("import-from", "dvc", "empty").code == 3
    assert run("import-from", "airflow", ".").code == 2
    ended = run("import-from", "dvc", "dvc.yaml", "--force")
    assert (ended.code, ended.err.splitlines()[1]) == (2, "hint: datapkg import-from dvc .")
    ended = run("import-from", "polyaxon", "empty")
    assert (ended.code, ended.err.splitlines()[1]) == (2, "hint: ls empty")


GROUP = f"""\
version: 1
kind: group
framework: none
tags: [examples]
declarations:
  batch_size: 128
hptuning:
  concurrency: 2
  random_search:
    n_experiments: 3
  early_stopping:
    - metric: loss
      value: 0.1
      optimization: minimize
    - metric: accuracy
      value: 0.9
      policy: experiment
  hyperband: {{max_iter: 10}}
  matrix:
    learning_rate:
      linspace: 0.001:0.1:5
    dropout:
      values: [0.25, 0.3]
environment:
  resources:
    cpu: {{requests: 1, limits: 2}}
    memory: {{requests: 512}}
build:
  image: python:3.12
  build_steps: [pip install x]
run:
  cmd: {PYTHON} model.py --batch_size={{{{ batch_size }}}} --lr={{{{ learning_rate }}}} --d={{{{ dropout }}}} '{{x}}'
"""
MODEL = """\
import json, os, sys
folder = os.environ["POLYAXON_RUN_OUTPUTS_PATH"]
json.dump(sys.argv[1:], open(folder + "/args.json", "w"))
"""


def test_group_of_polyaxon(run: Run) -> None:
    write(GROUP.replace("  image: python:3.12\n", ""), "polyaxonfile.yml")
    write(MODEL, "model.py")
    left = dict(map(reversed, converted(run, "polyaxon", "polyaxonfile.yml")))  # type: ignore[arg-type]
    assert left == {"framework": 3, "hptuning.hyperband": 18, "hptuning.early_stopping": 11, "build.build_steps": 29}
    stage = yaml.safe_load(Path("build.yml").read_text())["stages"]["run"]
    assert (stage["concurrency"], stage["resources"]) == (2, {"cpu": 1, "memory": "512MiB"})
    assert stage["early_stopping"] == [{"metric": "loss", "value": 0.1, "optimization": "minimize"}]
    out = exported(run)
    found = [json.loads(path.read_text()) for path in sorted(out.rglob("args.json"))]
    assert len(found) == 3
    assert {args[0] for args in found} == {"--batch_size=128"}
    assert {args[3] for args in found} == {"{x}"}
    assert {round(float(args[1].partition("=")[2]), 6) for args in found} <= {0.001, 0.02575, 0.0505, 0.07525, 0.1}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: group", "kind: build", "polyaxonfile.yml:2: kind: expected group, experiment, job"),
        ("{{ dropout }}", "{{ drop }}", "run.cmd: '{{ drop }}' is neither declared nor in the matrix"),
        ("  cmd:", "  command:", "run.cmd: expected a command"),
        ("hptuning:", "hptuning: 3\nx:", "hptuning: expected a mapping"),
    ],
)
def test_mistakes_in_a_group(run: Run, old: str, new: str, expected: str) -> None:
    write(GROUP.replace(old, new), "polyaxonfile.yml")
    ended = run("import-from", "polyaxon", "polyaxonfile.yml")
    assert ended.code == 2, ended.err
    assert expected in ended.err


WORKFLOW = """\
defaults:
  resources:
    instance-type: C4
  env: {GREETING: "it's"}
on: {github: {branches: {only: main}}}
jobs:
  clone:
    uses: model-create@v1
    with: {name: clone}
    outputs: {repo: {type: volume}}
  download:
    uses: script@v1
    with:
      script: |-
        printf 'day,rate\\n1,1.5\\n' > /outputs/rates/rates.csv
        echo "${GREETING} {x}" > /outputs/rates/note.txt
      image: python:3.12
    outputs:
      rates:
        type: dataset
        with: {ref: ds1abc}
  train:
    needs: [download, prepare]
    uses: script@v1
    inputs:
      rates: download.outputs.rates
      again: {type: dataset, with: {ref: ds1abc}}
      code: clone.outputs.repo
    with:
      script: cat /inputs/rates/rates.csv /inputs/again/rates.csv > /outputs/model/all.txt
    outputs: {model: {type: dataset, with: {ref: dsmodel}}}
  prepare:
    uses: script@v1
    with: {script: "true"}
"""


def test_workflow_of_gradient(run: Run) -> None:
    from datapkg.building.spec.keywords import OF_STAGE

    write(WORKFLOW, "workflow.yaml")
    left = converted(run, "gradient", "workflow.yaml")
    image = [] if "image" in OF_STAGE else [(17, "jobs.download.with.image")]
    assert sorted(left) == sorted(
        [
            (3, "defaults.resources.instance-type"),
            (5, "on"),
            (8, "jobs.clone.uses"),
            (9, "jobs.clone.with"),
            *image,
            (28, "jobs.train.inputs.code"),
        ]
    )
    path = Path("build.yml")
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "image:" not in line))
    out = exported(run)
    assert (out / "rates/rates.csv").read_text() == "day,rate\n1,1.5\n"
    assert (out / "rates/note.txt").read_text() == "it's {x}\n"
    assert (out / "model/all.txt").read_text() == "day,rate\n1,1.5\n" * 2
    assert 'origin: "gradient:ds1abc"' in path.read_text()
    assert "after_prepare: stages.prepare.done" in path.read_text()


@pytest.mark.needs("git")
def test_repository_that_a_workflow_checks_out(run: Run, tmp_path: Path) -> None:
    repository = tmp_path / "served" / "r.git"
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet")
    (repository / "words.txt").write_text("some words\n")
    commit(repository)
    with git_server(tmp_path / "served") as server:
        write(
            f"""\
jobs:
  shout:
    uses: script@v1
    needs: [clone]
    inputs: {{repo: clone.outputs.repo}}
    with: {{script: "tr a-z A-Z < /inputs/repo/words.txt > /outputs/loud/words.txt"}}
    outputs: {{loud: {{type: dataset}}}}
  clone:
    uses: git-checkout@v1
    with: {{url: "{server.url}/r.git", ref: main, depth: 1}}
    outputs: {{repo: {{type: volume}}}}
""",
            "workflow.yaml",
        )
        assert converted(run, "gradient", "workflow.yaml") == [
            (10, "jobs.clone.with.depth"),
            (10, "jobs.clone.with.url"),
        ]
        assert run("build", "me/p", "--update").code == 0
        assert run("cat", "me/p/loud/words.txt").out == "SOME WORDS\n"
        assert run("cat", "me/p/repo/words.txt").out == "some words\n"


def test_a_repository_that_cannot_be_fetched(run: Run) -> None:
    job = "jobs:\n  a: {uses: script@v1, with: {script: 'true'}}\n  b:\n    uses: git-checkout@v1\n"
    write(f"{job}    with: {{url: 'ftp://x.example/r.git'}}\n", "workflow.yaml")
    assert converted(run, "gradient", "workflow.yaml") == [
        (4, "jobs.b.uses"),
        (5, "jobs.b.with"),
        (5, "jobs.b.with.url"),
    ]


def test_a_circle_of_jobs_is_found_by_the_build(run: Run) -> None:
    job = "{uses: script@v1, needs: [%s], with: {script: 'true'}}"
    write(f"jobs:\n  a: {job % 'b'}\n  b: {job % 'a'}\n", "workflow.yaml")
    assert run("import-from", "gradient", "workflow.yaml").code == 0
    ended = run("build", "me/p")
    assert ended.code == 2
    assert "needs its own output" in ended.err


def test_unknown_keys_of_rules_of_polyaxon_are_named(run: Run) -> None:
    write(
        """
kind: group
hptuning:
  matrix: {lr: {values: [1, 2]}}
  early_stopping:
    - {metric: loss, value: 0.1, optimization: minimize, patience: 3}
run: {cmd: "true"}
""",
        "group.yml",
    )
    assert (6, "hptuning.early_stopping.1.patience") in converted(run, "polyaxon", "group.yml")
    assert run("graph", "build.yml").code == 0


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        ("gradient", "version: 1\nrun: {cmd: x}\n", "group.yml:1: version"),
        ("gradient", "jobs: {a: {uses: other@v1}}\n", "'other@v1' is not script@v1"),
        ("dvc", "stages: {}\n", ""),
    ],
)
def test_a_file_of_which_nothing_is_left(run: Run, form: str, text: str, reason: str) -> None:
    write(text, "dvc.yaml" if form == "dvc" else "group.yml")
    ended = run("import-from", form, "." if form == "dvc" else "group.yml", "-o", "build.yml")
    assert ended.code != 0
    assert "nothing was written" in ended.err
    assert reason in ended.err
    assert not Path("build.yml").exists()
