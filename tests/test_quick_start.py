"""What a new user types first, in a fresh clone: the README's quick start, the tutorial, and `make demo`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECTION = re.compile(r"^## Quick start\n(.*?)^## ", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STEP = re.compile(r"^```(sh|console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
END_OF_STEP = "---- end of step ----"
DEFAULT_PORT = "8484"
MAX_LINES = 10
SCREEN_LINES, SCREEN_COLUMNS = 24, 80
TIMEOUT_S = 240


def blocks() -> list[str]:
    """Return the shell blocks of the README: for the registry, the publisher and the reader."""
    section = SECTION.search((ROOT / "README.md").read_text())
    assert section
    return BLOCK.findall(section[1])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of this repository with a virtual environment that finds libraries without a network."""
    folder = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "benchmarks")
    shutil.copytree(ROOT, folder, ignore=ignored)
    libraries = folder / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    libraries.mkdir(parents=True)
    known = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # Before what `venv` puts there, which may be too old to build with, and only once that is there.
    line = (
        f"import os, sys; os.path.exists(sys.prefix + '/bin/activate') and sys.path.__setitem__(slice(1, 1), {known!r})"
    )
    (libraries / "libraries.pth").write_text(line + "\n")
    return folder


def environ(home: Path, port: int) -> dict[str, str]:
    """Return the environment of a new user, with another port for the registry than the default."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATAPKG_", "XDG_", "PYTHON"))}
    pip = {
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return kept | pip | {"HOME": str(home), "PATH": path, "DATAPKG_REGISTRY_PORT": str(port)}


@contextmanager
def typed_and_running(text: str, folder: Path, env: dict[str, str]) -> Iterator[str]:
    """Run a command until it is stopped; yield the line that reports that it is ready."""
    process = subprocess.Popen(
        ["bash", "-e", "-c", text],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if '"url"' in line:
                break
        assert '"url"' in lines[-1], "".join(lines)
        yield lines[-1]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_the_quick_start_works_as_it_is_typed(clone: Path, tmp_path: Path) -> None:
    serve, publish, read = blocks()
    assert len([*serve.splitlines(), *publish.splitlines(), *read.splitlines()]) <= MAX_LINES
    port = free_port()
    env = environ(tmp_path / "home", port)
    with typed_and_running(serve, clone, env) as line:
        assert f"http://127.0.0.1:{port}" in line
        rest = (publish + read).replace(f":{DEFAULT_PORT}", f":{port}")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", rest],
            cwd=clone,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"logged in to http://127.0.0.1:{port} as alice" in done.stdout
    assert "installed alice/iris@sha256:" in done.stdout
    assert done.stdout.rstrip().endswith("[150 rows x 5 columns]")
    assert "error" not in done.stderr.lower()
    assert (clone / "second-home" / "store").is_dir()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def steps_of(tutorial: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the tutorial as a line of a shell script, with the output that it must have."""
    for kind, text in STEP.findall(tutorial):
        if kind == "sh":  # typed in another terminal, and left running
            yield (
                f"({text}) > serve.out 2>&1 &\ntrap 'kill $!' EXIT\nuntil grep -q url serve.out; do sleep 0.1; done",
                "",
            )
        elif kind == "python":
            test = "import doctest, sys; sys.exit(doctest.testfile('session.txt', False).failed)"
            yield f"cat > session.txt <<'END'\n{text}END\npython -c \"{test}\"", ""
        else:
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, expected = part.partition("\n")
                yield command, expected.strip()


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_the_tutorial_works_as_it_is_typed(clone: Path, tmp_path: Path) -> None:
    port = free_port()
    steps = list(steps_of((ROOT / "docs" / "tutorial.md").read_text().replace(DEFAULT_PORT, str(port))))
    script = "set -e -o pipefail\n" + "".join(f"{command}\necho '{END_OF_STEP}'\n" for command, _ in steps)
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=clone,
        env=environ(tmp_path / "home", port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, out
    for (command, expected), printed in zip(steps, out.split(END_OF_STEP), strict=False):
        pattern = re.escape(expected).replace("…", ".*")
        assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"$ {command}\n{printed}\nexpected:\n{expected}"


@pytest.mark.big
def test_each_step_of_the_demo_fits_a_screen(tmp_path: Path) -> None:
    env = environ(tmp_path / "home", 0)
    done = subprocess.run(
        [sys.executable, "scripts/demo.py"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    steps = done.stdout.split("\n── ")[1:]
    assert len(steps) >= 5
    for step in steps:
        lines = [piece for line in step.splitlines() for piece in wrap(line, SCREEN_COLUMNS) or [""]]
        assert len(lines) < SCREEN_LINES, step
        assert not re.search(r'^\s*[{\[]"', step, re.MULTILINE), step
    assert "[150 rows x 5 columns]" in done.stdout
    assert not (tmp_path / "home" / ".local").exists()
