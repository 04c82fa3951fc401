"""Commands work with the files of a registry in a folder of another machine, over a real SSH server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.public import open as open_package
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.building.builds import write
from tests.ssh_server import ssh_server

REF = Ref("ada", "iris")


@pytest.mark.needs("sshd")
def test_two_push_at_once_and_a_third_installs_every_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with ssh_server(tmp_path / "server") as server:
        monkeypatch.setenv("HOME", str(server.home))
        url = server.url(tmp_path / "registry")

        def machine(name: str) -> Home:
            return Home({"DATAPKG_HOME": str(tmp_path / name), "DATAPKG_REGISTRY": url})

        def push(name: str) -> list[str]:
            pushed = []
            for number in range(3):
                write(tmp_path, {f"{name}.csv": f"n\n{name}{number}\n"})
                build_package(machine(name), REF, tmp_path / f"{name}.csv")
                pushed.append(push_package(machine(name), REF, force=True).hash)
            return pushed

        with ThreadPoolExecutor(2) as pool:
            states = [hash for pushed in pool.map(push, ["one", "two"]) for hash in pushed]
        other = machine("other")
        assert {each.hash for each in other.client().log(REF)} == set(states)
        for state in states:
            (outcome,) = install_packages(other, [Ref.parse(f"ada/iris@sha256:{state}")])
            assert outcome.error is None
        assert verify(other).damaged == []
        for name, value in machine("lazy").settings.environ.items():
            monkeypatch.setenv(name, value)
        table = open_package(f"ada/iris@sha256:{states[0]}")["one"]()
        assert table["n"].tolist() == ["one0"]
