"""A registry in its own process, for tests: the test double of a server is the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registry_server.services import accounts, policy
from registry_server.services.registry import open_registry
from registry_server.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60


@dataclass
class LiveRegistry:
    """A running registry, with its URL, data folder, log and process."""

    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def add_user(self, name: str) -> str:
        """Add a user and return the token.

        As `datapkg-registry user add` does it, but in this process, which takes a hundredth of the time. In a thread,
        since Playwright leaves an event loop in that of a test, where a registry does not wait for its database.
        """
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._add_user, name).result()

    def _add_user(self, name: str) -> str:
        registry = open_registry(read_settings({}, data=self.data))
        try:
            return accounts.add_user(registry, policy.THE_OPERATOR, name)
        finally:
            registry.close()

    def stop(self) -> int:
        """Stop it and return its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill it, whatever it is doing."""
        self.process.kill()
        self.process.wait(30)


@contextmanager
def live_registry(folder: Path, **environment: str) -> Iterator[LiveRegistry]:
    """Run a registry with data and log in `folder`; started there again, it has the earlier data.

    What is given by name is its environment too, such as `DATAPKG_REGISTRY_MAX_TAGS="2"`.
    """
    data, log = folder / "registry", folder / "registry.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "registry_server", "serve", "--data", str(data), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment() | environment,
        )
    try:
        yield LiveRegistry(_url(process, log), data, log, process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    watch = threading.Timer(START_TIMEOUT_S, process.kill)
    watch.start()
    try:
        assert process.stdout
        line = process.stdout.readline()
    finally:
        watch.cancel()
    if not line:
        raise RuntimeError(f"the registry did not start:\n{log.read_text()[-4000:]}")
    url: str = json.loads(line)["url"]
    return url


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    return kept | {"PYTHONPATH": str(ROOT)}
