"""Real web servers that serve a folder: Python's own, which knows no ranges, and nginx, which does."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.conftest import find_program

NGINX = """
daemon off; worker_processes 1; pid {run}/nginx.pid; error_log {run}/error.log; {user}
events {{ worker_connections 64; }}
http {{
    access_log off; default_type application/octet-stream; types {{ text/html html; }}
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ root {root}; {more} }} }}
}}
"""
Serve = Callable[[Path, Path], AbstractContextManager[str]]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def python_server(root: Path, run: Path) -> AbstractContextManager[str]:
    """Serve a folder by `python -m http.server`; gives the address."""
    port = _free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(root)]
    return _running(command, port)


def nginx_server(root: Path, run: Path, more: str = "") -> AbstractContextManager[str]:
    """Serve a folder by nginx, whose own files are in `run`; gives the address. `more` are settings."""
    import os

    port = _free_port()
    run.mkdir()
    user = "user root;" if os.getuid() == 0 else ""
    (run / "nginx.conf").write_text(NGINX.format(run=run, root=root, port=port, user=user, more=more))
    return _running([str(find_program("nginx")), "-p", str(run), "-c", str(run / "nginx.conf")], port)
