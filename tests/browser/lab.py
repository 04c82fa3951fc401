"""Run a real JupyterLab in its own folder, with a kernel of this interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOKEN = "of-a-test"
START_S = 60


@dataclass(frozen=True)
class Lab:
    """A server, and the folders of its notebooks and settings."""

    url: str
    folder: Path

    def page(self, notebook: str) -> str:
        """Return the URL that opens a notebook without the state of the last visit."""
        return f"{self.url}lab/tree/{notebook}?reset&token={TOKEN}"

    def write(self, notebook: str, *cells: str) -> None:
        """Write a notebook that has not been run."""
        made = [
            {
                "cell_type": "code",
                "id": f"c{at}",
                "source": cell,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for at, cell in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        text = json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
        (self.folder / notebook).write_text(text)

    def use_theme(self, name: str) -> None:
        """Set the theme of pages opened from now on: JupyterLab Light or JupyterLab Dark."""
        folder = self.folder / "settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": name}))
        (folder / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))


@contextmanager
def lab(folder: Path, environ: dict[str, str]) -> Iterator[Lab]:
    """Run a JupyterLab, with its kernels, inside the block."""
    import jupyterlab

    program = Path(jupyterlab.__file__).parents[4] / "share" / "jupyter" / "lab"
    environ = {
        **os.environ,
        **environ,
        "JUPYTERLAB_DIR": str(program),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.open_browser": "False",
        "ServerApp.allow_root": "True",
        "ServerApp.root_dir": str(folder),
        "IdentityProvider.token": TOKEN,
        "LabApp.news_url": "",
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield Lab(_url(server, folder), folder)
        finally:
            server.terminate()  # lets the server end its kernels
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _url(server: subprocess.Popen[bytes], folder: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        for path in (folder / "runtime").glob("jpserver-*.json"):
            try:
                url: str = json.loads(path.read_text())["url"]
            except ValueError:  # incomplete, still being written
                continue
            return url
        time.sleep(0.1)
    raise AssertionError((folder / "server.log").read_text()[-3_000:])
