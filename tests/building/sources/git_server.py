"""Serve repositories over http on this machine with git's own `git http-backend`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests import http_server

# Isolates the test repositories from the git configuration of the user.
ENVIRON = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    """Return the output of a git command."""
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRON, input=stdin, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, message: str = "x") -> str:
    """Commit everything in a repository and return the commit hash."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@dataclass
class GitServer:
    """The address of the server and the requested paths; it redirects those in `redirects`."""

    url: str
    folder: Path
    seen: list[str] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    status: int = 0


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve the repositories in a folder."""
    served = GitServer("", folder)

    class Handler(http_server.Handler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            served.seen.append(self.path)
            for start, target in served.redirects.items():
                if parts.path.startswith(start):
                    self.answer(302, b"", {"Location": target + self.path.removeprefix(start)})
                    return
            if served.status:
                self.answer(served.status, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                return
            environ = {
                **ENVIRON,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            head, _, data = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self.answer(int(headers.pop("Status", "200").split()[0]), data, headers)

        do_GET = do_POST = _handle  # noqa: N815 - the names of http.server

    with http_server.serving(Handler) as served.url:
        yield served
