"""A registry without a server in a folder, and machines that use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.api.push_result import PushResult
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote.static.client import StaticClient


@dataclass(frozen=True)
class Static:
    """The address of a registry in a folder, and a folder for the homes of machines."""

    folder: Path
    machines: Path

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def home(self, machine: str = "own") -> Home:
        """Return the home of a machine that has this registry in its settings."""
        return Home({"DATAPKG_HOME": str(self.machines / machine), "DATAPKG_REGISTRY": self.url})

    def client(self, machine: str = "own") -> StaticClient:
        client = self.home(machine).client()
        assert isinstance(client, StaticClient)
        return client

    def push(self, ref: Ref, text: str, machine: str = "own", **options: object) -> PushResult:
        """Build a package of one small table on a machine, and push it."""
        path = self.machines / "data.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"n\n{text}\n")
        build_package(self.home(machine), ref, path)
        return push_package(self.home(machine), ref, **options)  # type: ignore[arg-type]

    def files(self) -> dict[str, bytes]:
        """Return all files of the registry, by key."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
