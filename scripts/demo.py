"""Publish the sample packages through a new registry and import one of them in a second, empty home."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
USER = "examples"
STEP_TIMEOUT_S = 300


class Failed(Exception):
    """A step of the demo failed; the message has the step and its output."""


def main() -> int:
    """Run the demo in a temporary folder and return the exit code; the folder is always removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="datapkg-demo-") as folder:
            demo(Path(folder))
    except Failed as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def demo(folder: Path) -> None:
    """Run the steps: a registry, a user who publishes, a reader who installs and imports."""
    say("Start a registry on a free port")
    with registry(folder / "registry") as url:
        say(f"Add the user {USER!r} and log in")
        publisher = at(folder / "home")
        data = shlex.quote(str(folder / "registry"))
        show(f"datapkg-registry user add {USER} --data {data} --quiet | datapkg login {url} --token -", publisher)

        say("Build a package from a folder and publish it")
        show(f"datapkg build {USER}/iris sample_packages/iris", publisher)
        show(f"datapkg push {USER}/iris --public", publisher)

        say("Publish four more")
        for name in [each for each in samples() if each != "iris"]:
            build = f"datapkg build {USER}/{name} sample_packages/{name} --quiet > /dev/null"
            show(f"{build} && datapkg push {USER}/{name} --public --quiet", publisher)

        say("As somebody else, with an empty home and no account, find one and install it")
        reader = at(folder / "second-home")
        show(f"datapkg config registry {url}", reader)
        show("datapkg search iris", reader)
        show(f"datapkg install {USER}/iris", reader)

        say("Look at it")
        show(f"datapkg show {USER}/iris/measurements", reader)

        say("Import it in a new Python process")
        code = f"from datapkg.data.{USER} import iris; print(iris.measurements())"
        show(f"python -c {shlex.quote(code)}", reader)

        built, installed = (run(f"datapkg show {USER}/iris --json", home) for home in (publisher, reader))
        hash = json.loads(installed)["hash"]
        if hash != json.loads(built)["hash"]:
            raise Failed(f"the installed state differs from the pushed one:\n{built}\n{installed}")
    say("The installed package is identical to the published one")
    print(f"  {USER}/iris@sha256:{hash}\n\n{what_next()}")


def samples() -> list[str]:
    """Return the names of all sample packages."""
    return sorted(path.parent.name for path in (ROOT / "sample_packages").glob("*/build.yml"))


@contextmanager
def registry(data: Path) -> Iterator[str]:
    """Run a registry during the block; yield its URL."""
    command = f"datapkg-registry serve --data {shlex.quote(str(data))} --port 0"
    print(f"$ {command} &", flush=True)
    out, log = data.with_suffix(".out"), data.with_suffix(".log")
    with out.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(typed(command), stdout=stdout, stderr=stderr, cwd=ROOT)
    try:
        url = first_line(process, out)["url"]
        print(f"  {url}")
        yield url
    except Failed as failure:
        raise Failed(f"{failure}\nThe registry's log ends with:\n{log.read_text()[-2000:]}") from None
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def first_line(process: subprocess.Popen[bytes], out: Path, timeout_s: float = 60) -> dict[str, Any]:
    """Return the JSON that a registry prints when it listens."""
    deadline = time.monotonic() + timeout_s
    while "\n" not in (text := out.read_text()):
        if process.poll() is not None:
            raise Failed(f"the registry ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"the registry did not listen within {timeout_s:.0f} s")
        time.sleep(0.05)
    line: dict[str, Any] = json.loads(text.partition("\n")[0])
    return line


def at(home: Path) -> dict[str, str]:
    """Return the variables of one person on one machine, without this machine's own."""
    print(f"$ export DATAPKG_HOME={shlex.quote(str(home))}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    path = os.pathsep.join([str(PROGRAMS), kept.get("PATH", os.defpath)])
    return kept | {"DATAPKG_HOME": str(home), "PATH": path}


def show(command: str, env: Mapping[str, str]) -> None:
    """Print a command as it is typed, and its output."""
    print(f"$ {command}", flush=True)
    print(*(f"  {line}".rstrip() for line in run(command, env).rstrip().splitlines()), sep="\n", flush=True)


def run(command: str, env: Mapping[str, str]) -> str:
    """Run a command and return its output; raise `Failed` with its output if it fails."""
    try:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"`{command}` did not end within {STEP_TIMEOUT_S} s") from None
    if done.returncode:
        raise Failed(f"`{command}` ended with exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def typed(command: str) -> list[str]:
    """Return the words of a command, with the program from the virtual environment of this script."""
    program, *words = shlex.split(command)
    return [str(PROGRAMS / program), *words]


def say(what: str) -> None:
    print(f"\n── {what}", flush=True)


def what_next() -> str:
    return f"""What to type next:
  source {os.path.relpath(PROGRAMS / "activate")}
  datapkg build me/iris sample_packages/iris
  python -c "from datapkg.data.me import iris; print(iris())"
  datapkg-registry serve --data my-registry
  datapkg --help"""


if __name__ == "__main__":
    sys.exit(main())
