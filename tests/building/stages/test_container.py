"""A stage with an image runs in a container, where an engine is here, and is refused elsewhere."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.building.spec.options import BuildOptions
from datapkg.building.stages.container import Container
from datapkg.errors import InvalidBuildFile, MissingDependency, StageFailed
from datapkg.format.names import Ref
from datapkg.home import Home

REF = Ref("me", "data")
# An engine that runs the command here, in the folder and with the variables alone that it was given. As with real ones,
# the command does not end with the engine's program.
ENGINE = f"""#!{sys.executable}
import json, os, signal, subprocess, sys
here = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]
open(here + "/calls", "a").write(json.dumps(words) + "\\n")
images = json.load(open(here + "/images.json"))
if words[:2] == ["image", "inspect"]:
    sys.exit(print("sha256:" + images[words[-1]]) if words[-1] in images else "Error: no such image")
if words[0] == "pull":
    if not words[-1].startswith("there/"):
        sys.exit("Trying to pull...\\nError: " + words[-1] + ": manifest unknown")
    json.dump(images | {{words[-1]: "b" * 64}}, open(here + "/images.json", "w"))
    sys.exit()
if words[0] in ("rm", "kill"):
    if os.path.exists(here + "/" + words[-1]):
        os.kill(int(open(here + "/" + words[-1]).read()), signal.SIGKILL)
    sys.exit()
assert words[0] == "run"
at, env, folder, name = 1, {{"PATH": "/usr/bin:/bin"}}, None, None
while words[at].startswith("--"):
    word, _, value = words[at].partition("=")
    if word == "--rm" or value:
        at += 1
        continue
    value = words[at + 1]
    if word == "--env":
        name, is_given, text = value.partition("=")
        env[name] = text if is_given else os.environ[name]
    folder = value if word == "--workdir" else folder
    name = value if word == "--name" else name
    at += 2
if words[at] == "bad/start":
    print("Error: crun: no such device")
    sys.exit(125)
os.chdir(folder)
container = subprocess.Popen(words[at + 1:], env=env, start_new_session=True)
open(here + "/" + name, "w").write(str(container.pid))
sys.exit(container.wait())
"""


class Engine:
    """A program of the name of an engine, alone on the path."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder / "programs", name
        self.folder.mkdir()
        (self.folder / name).write_text(ENGINE)
        (self.folder / name).chmod(0o755)
        self.images({"busybox:1": "a" * 64, "bad/start": "c" * 64})

    def images(self, ids: dict[str, str]) -> None:
        (self.folder / "images.json").write_text(json.dumps(ids))

    def calls(self, verb: str) -> list[list[str]]:
        lines = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        return [words for line in lines if (words := json.loads(line))[0] == verb]


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(tmp_path, request.param)
    monkeypatch.setenv("PATH", str(made.folder))
    return made


def build(folder: Path, more: str = "image: busybox:1", run: str = "cp {raw} {out}", **options: Any) -> BuildResult:
    folder.mkdir(exist_ok=True)
    (folder / "raw.txt").write_text("some words\n")
    (folder / "build.yml").write_text(f"""
contents: {{copy: {{stage: copy}}}}
stages:
  copy:
    run: {json.dumps(run)}
    inputs: {{raw: raw.txt}}
    outputs: {{out: copy.txt}}
    {more}
""")
    return build_package(Home(), REF, folder, BuildOptions(**options))


def text() -> str:
    return datapkg.load("me/data")["copy"]().read_text()


def test_the_command_runs_in_the_container(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    build(folder)
    assert text() == "some words\n"
    (words,) = engine.calls("run")
    mounts = mounts_of(words)
    assert ["type=bind", f"source={folder}", f"target={folder}", "readonly"] in mounts
    are_readable = {mount[1].rpartition("/")[2]: mount[3:] == ["readonly"] for mount in mounts}
    assert [are_readable[name] for name in ("inputs", "outputs", "notes")] == [True, False, False]
    assert words[words.index("--workdir") + 1] == str(folder)
    assert words[words.index("--network") + 1] == "none"
    if os.getuid() == 0:
        assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert words[words.index("busybox:1") + 1] == "cp"


def mounts_of(words: list[str]) -> list[list[str]]:
    """Return the fields of each mount, read as the engines do."""
    return list(csv.reader(words[at + 1] for at, word in enumerate(words) if word == "--mount"))


@pytest.mark.parametrize("name", ["at 10:30", "a,b", 'say "hi", x:y', "plain"])
def test_folders_of_any_name(engine: Engine, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    build(folder)
    assert text() == "some words\n"
    (words,) = engine.calls("run")
    assert mounts_of(words)[0] == ["type=bind", f"source={folder}", f"target={folder}", "readonly"]
    assert "--volume" not in words, "it would end a path at a colon"


def test_a_network_is_there_only_where_it_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    build(tmp_path / "work", "image: busybox:1\n    network: true")
    assert "--network" not in engine.calls("run")[0]


def test_variables_of_the_user_stay_out_unless_named_and_their_values_off_the_command_line(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY", "a-secret-town")
    monkeypatch.setenv("OTHER", "another-secret")
    build(tmp_path / "work", "image: busybox:1\n    shell: true\n    env: [CITY]", "echo $CITY $OTHER $HOME > {out}")
    assert text() == "a-secret-town /tmp\n"
    assert "secret" not in str(engine.calls("run"))


def test_the_content_of_the_image_is_part_of_what_a_stage_depends_on(engine: Engine, tmp_path: Path) -> None:
    build(tmp_path / "work")
    assert [each["action"] for each in build(tmp_path / "work").stages] == ["reused"]
    engine.images({"busybox:1": "d" * 64})
    (stage,) = build(tmp_path / "work").stages
    assert (stage["action"], stage["why"]) == ("ran", "image.id changed")


def test_an_image_that_is_not_here_is_fetched_once(engine: Engine, tmp_path: Path) -> None:
    more = "image: there/tool:2\n    foreach: [1, 2]"
    assert [each["action"] for each in build(tmp_path / "work", more, dry_run=True).stages] == ["would run"] * 2
    assert not engine.calls("pull")
    build(tmp_path / "work", more)
    assert engine.calls("pull") == [["pull", "--quiet", "there/tool:2"]]
    assert len(engine.calls("run")) == 2


def test_an_image_that_nobody_has_is_an_error_with_the_words_of_the_engine(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"build\.yml:4.*cannot use the image 'no/such': .*manifest unknown") as found:
        build(tmp_path / "work", "image: no/such")
    assert found.value.hint.endswith(" pull no/such")


def test_a_container_that_does_not_start(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"was not started by (podman|docker)(.|\n)*no such device"):
        build(tmp_path / "work", "image: bad/start")


def test_a_container_that_takes_too_long_is_removed(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"took longer than 3 s"):
        build(tmp_path / "work", "image: busybox:1\n    timeout: 3s", "sleep 20")
    (words,) = engine.calls("run")
    name = words[words.index("--name") + 1]
    assert engine.calls("rm") == [["rm", "--force", name]]
    assert engine.calls("kill") == [["kill", name]]


def test_a_container_ends_with_a_build_that_is_killed(engine: Engine, tmp_path: Path) -> None:
    container = Container(str(engine.folder / engine.name), "mine", "busybox:1", False, (), (), tmp_path, (), {})
    code = f"""
from pathlib import Path
from datapkg.building.stages.process import Processes
log = Path({str(tmp_path)!r}) / "log"
Processes().run({container.command(["sleep", "60"])!r}, folder=log.parent, environ={{}}, log=log, timeout_s=None)
"""
    build = subprocess.Popen([sys.executable, "-c", code])
    file, deadline = engine.folder / "mine", time.monotonic() + 30
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(file.read_text())
    build.kill()
    build.wait()
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(pid)
    assert engine.calls("kill") == [["kill", "mine"]]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_build_in_its_own_folder(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datapkg build me/p` has a relative build folder, and engines refuse relative paths."""
    monkeypatch.chdir(tmp_path)
    build(Path("."))
    (words,) = engine.calls("run")
    assert all(Path(mount[1].removeprefix("source=")).is_absolute() for mount in mounts_of(words))
    assert words[words.index("--workdir") + 1] == str(tmp_path)


def test_without_an_engine_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingDependency, match=r"build\.yml:4: .*'copy' runs in the image 'busybox:1'.*podman or docker"
    ):
        build(tmp_path / "work")
    assert not list(Home().store.folder.glob("stages/*"))


@pytest.mark.parametrize("more", ["image: [a, b]", "image: -v/:/x", "image: a b", "network: true", "image: ''"])
def test_mistakes(tmp_path: Path, more: str) -> None:
    with pytest.raises(InvalidBuildFile, match=r"build\.yml:8: .*(image|network)") as caught:
        build(tmp_path / "work", more)
    assert len(caught.value.problems) == 1


@pytest.mark.big
@pytest.mark.where_available("podman", "runc", "busybox")
def test_a_real_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build folder and inputs cannot be written, outputs can; there is no network; the user is this one."""
    (tmp_path / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = []\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
    )
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(str(shutil.which("busybox")), "bin/sh")
    subprocess.run(["podman", "import", "-q", str(tmp_path / "image.tar"), "localhost/bb:1"], check=True)
    run = (
        'busybox() { /bin/sh busybox \\"$@\\"; }; '
        "(echo x > raw.txt) 2>/dev/null && echo wrote; (echo x > {raw}) 2>/dev/null && echo wrote; "
        "read line < {raw}; echo $line > {out}; for each in /sys/class/net/*; do echo ${{each##*/}} >> {out}; done"
    ).replace('busybox() { /bin/sh busybox \\"$@\\"; }; ', "")
    build(tmp_path / "work", "image: localhost/bb:1\n    shell: true", run)
    assert text() == "some words\nlo\n"
    assert (tmp_path / "work" / "raw.txt").read_text() == "some words\n"
    assert [
        each["action"] for each in build(tmp_path / "work", "image: localhost/bb:1\n    shell: true", run).stages
    ] == ["reused"]
