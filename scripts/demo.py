"""Publishes the sample packages through a registry of its own and imports one of them in a second, empty home."""

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
    """A step of the demo did not do what it should; the message says which and what it printed."""


def main() -> int:
    """Runs the demo in a temporary folder and returns the exit code; nothing is left behind, however it ends."""
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
    """The story: a registry, a user who publishes, a reader who installs and imports."""
    say("A registry of our own, on a free port")
    with registry(folder / "registry") as url:
        say(f"A user, {USER!r}")
        data = shlex.quote(str(folder / "registry"))
        token = answer(f"datapkg-registry user add {USER} --data {data} --json", os.environ)["token"]

        say("What that user has is built and pushed")
        publisher = at(folder / "home", DATAPKG_REGISTRY=url, DATAPKG_TOKEN=token)
        built = {path.parent.name: publish(path.parent, publisher) for path in samples()}

        say("Somebody else, with an empty home and no account, installs one")
        reader = at(folder / "second-home", DATAPKG_REGISTRY=url)
        installed = answer(f"datapkg install {USER}/iris --json", reader)["installed"][0]["hash"]
        if installed != built["iris"]:
            raise Failed(f"{built['iris']} was pushed, {installed} was installed")

        say("and imports it in a fresh Python process")
        code = f"from datapkg.data.{USER} import iris; print(iris.measurements())"
        print(run(f"python -c {shlex.quote(code)}", reader, folder=folder))
    print(f"The package hash, which names these very bytes:\n  {USER}/iris@sha256:{installed}\n\n{what_next()}")


def samples() -> list[Path]:
    """The build files of all sample packages."""
    return sorted((ROOT / "sample_packages").glob("*/build.yml"))


def publish(sample: Path, publisher: Mapping[str, str]) -> str:
    """Builds and pushes one sample package; returns its hash."""
    name = f"{USER}/{sample.name}"
    built: str = answer(f"datapkg build {name} {sample.relative_to(ROOT)} --json", publisher)["hash"]
    pushed = answer(f"datapkg push {name} --public --json", publisher)["hash"]
    if pushed != built:
        raise Failed(f"{built} was built, {pushed} was pushed")
    return built


@contextmanager
def registry(data: Path) -> Iterator[str]:
    """Runs a registry while the block runs, and gives its URL."""
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
    """The JSON that a registry prints once it listens."""
    deadline = time.monotonic() + timeout_s
    while "\n" not in (text := out.read_text()):
        if process.poll() is not None:
            raise Failed(f"the registry ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"the registry did not listen within {timeout_s:.0f} s")
        time.sleep(0.05)
    line: dict[str, Any] = json.loads(text.partition("\n")[0])
    return line


def at(home: Path, **settings: str) -> dict[str, str]:
    """The environment of one person on one machine, printed as it would be typed; this machine's own is left out."""
    settings = {"DATAPKG_HOME": str(home), **settings}
    shown = {name: "dpk_…" if name == "DATAPKG_TOKEN" else value for name, value in settings.items()}
    print("$ export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in shown.items()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    return kept | settings


def answer(command: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What a command says with `--json`, printed too; a token is not."""
    said = run(command, env)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        raise Failed(f"`{command}` printed no JSON:\n{said}") from None
    shown = {name: "dpk_…" if name == "token" else value for name, value in found.items()}
    print(f"  {json.dumps(shown, ensure_ascii=False)}")
    return found


def run(command: str, env: Mapping[str, str], folder: Path = ROOT) -> str:
    """Prints a command as it would be typed, runs it and returns its output; raises `Failed` with what it said."""
    print(f"$ {command}", flush=True)
    try:
        done = subprocess.run(
            typed(command), env=env, cwd=folder, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"`{command}` did not end within {STEP_TIMEOUT_S} s") from None
    if done.returncode:
        raise Failed(f"`{command}` ended with exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def typed(command: str) -> list[str]:
    """A command's words, the program taken from the virtual environment that runs this script."""
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
