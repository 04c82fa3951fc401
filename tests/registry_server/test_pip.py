"""The index of a registry as pip uses it: the real pip, against a registry in its own process."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.format.simple_index import JSON_TYPE
from datapkg.format.thin_wheel import distribution_name
from datapkg.home import Home
from tests.live_registry import ROOT, LiveRegistry

PAGE = ROOT / "docs" / "python-index.md"
_numbers = itertools.count()


@dataclass(frozen=True)
class Index:
    """A public package with the versions 1.2.0 and 1.3.0 (yanked), a private one, and a folder for pip."""

    url: str
    token: str
    user: str
    folder: Path

    @property
    def iris(self) -> str:
        return distribution_name(f"{self.user}/iris")

    @property
    def secret(self) -> str:
        return distribution_name(f"{self.user}/secret")

    def address(self, token: str = "") -> str:
        """The address of the index, with a token in it if there is one."""
        return (
            self.url.replace("http://", f"http://__token__:{token}@") + "/simple/" if token else f"{self.url}/simple/"
        )

    def pip(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run pip without settings of this machine, and a home in which there may be a `.netrc`."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, **environment}
        pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
        return subprocess.run([*pip, *words], env=env, capture_output=True, text=True, timeout=100)

    def install(self, *words: str, token: str = "", **environment: str) -> dict[str, str]:
        """Install into a new folder; return the pin files there by the name of the package."""
        target = self.folder / f"target{next(_numbers)}"
        done = self.pip("install", "--index-url", self.address(token), "--target", str(target), *words, **environment)
        assert done.returncode == 0, done.stderr
        return {path.stem.removesuffix(".pin"): path.read_text() for path in target.rglob("*.pin.json")}

    def files(self, project: str) -> dict[str, Mapping[str, str]]:
        """Return the name, address and sha256 of each file of a project, by the version without its hash."""
        page = requests.get(f"{self.address(self.token)}{project}/", headers={"accept": JSON_TYPE}, timeout=30).json()
        return {
            each["filename"].split("-")[1].partition("+")[0]: {
                "url": f"{self.address()}{project}/{each['url']}",
                "sha256": each["hashes"]["sha256"],
                "name": each["filename"],
            }
            for each in page["files"]
        }


@pytest.fixture(scope="module")
def index(registry: LiveRegistry, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("pip")
    user = f"pip{os.urandom(4).hex()}"  # the module may run in parts, each with this fixture
    token = registry.add_user(user)
    home = Home({"DATAPKG_HOME": str(folder / "store"), "DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": token})
    for name, version, text in (("iris", "1.2.0", "1"), ("iris", "1.3.0", "2"), ("secret", "1.0", "3")):
        (folder / "data.csv").write_text(f"n\n{text}\n")
        ref = Ref(user, name)
        build_package(home, ref, folder / "data.csv")
        push_package(home, ref, version=version, public=name == "iris", confirm=True)
    home.client().set_yanked(Ref(user, "iris"), "1.3.0", "wrong units")
    return Index(registry.url, token, user, folder)


def as_documented(index: Index, start: str) -> Path:
    """Return a file with the requirements of the page that begin like this, for the package of the tests."""
    blocks = re.findall(r"^```txt\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (text,) = (each for each in blocks if each.startswith(start))
    file = index.files(index.iris)["1.2.0"]
    text = re.sub(r"https://data\.example\.org/\S*\.whl", file["url"], text)
    text = text.replace("https://data.example.org", index.url).replace("datapkg-uciml-iris", index.iris)
    path = index.folder / "requirements.txt"
    path.write_text(re.sub(r"[0-9a-f]{64}", file["sha256"], text))
    return path


def test_pip_installs_what_the_page_shows(index: Index) -> None:
    found = index.install("--require-hashes", "-r", str(as_documented(index, "--index-url")))
    assert list(found) == ["iris"]
    assert f'"package":"{index.user}/iris"' in found["iris"]
    assert f'"registry":"{index.url}"' in found["iris"]
    requirements = as_documented(index, "datapkg-uciml-iris @")
    assert index.install("--no-index", "-r", str(requirements)) == found


@pytest.mark.big
def test_pip_installs_a_version(index: Index) -> None:
    for wanted in (f"{index.iris}==1.2.0", index.iris, f"{index.iris}>=1,<2"):  # the newer one is yanked
        assert list(index.install(wanted)) == ["iris"]


@pytest.mark.big
def test_pip_installs_a_yanked_version_only_where_it_is_named(index: Index) -> None:
    done = index.pip("download", "--index-url", index.address(), "-d", str(index.folder / "d"), f"{index.iris}==1.3.0")
    assert done.returncode == 0
    assert "wrong units" in done.stderr
    wheel = index.folder / "d" / index.files(index.iris)["1.3.0"]["name"]
    assert hash_bytes(wheel.read_bytes()) == index.files(index.iris)["1.3.0"]["sha256"]


@pytest.mark.big
def test_pip_lists_versions(index: Index) -> None:
    done = index.pip("index", "versions", "--index-url", index.address(), index.iris)
    assert done.returncode == 0, done.stderr
    assert "Available versions: 1.2.0+h" in done.stdout
    assert "0.dev" not in done.stdout
    every = index.pip("index", "versions", "--pre", "--index-url", index.address(), index.iris)
    assert "0.dev1+h" in every.stdout


@pytest.mark.big
def test_pip_verifies_hashes(index: Index) -> None:
    requirements = index.folder / "requirements.txt"
    requirements.write_text(f"{index.iris}==1.2.0 --hash=sha256:{'0' * 64}\n")
    refused = index.pip("download", "--index-url", index.address(), "--require-hashes", "-r", str(requirements))
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr


@pytest.mark.big
def test_pip_refuses_another_file_at_a_direct_address(index: Index) -> None:
    file = index.files(index.iris)["1.2.0"]
    wrong = f"{index.iris} @ {file['url']}#sha256={'0' * 64}"
    assert index.pip("download", "--no-index", "-d", str(index.folder), wrong).returncode != 0


@pytest.mark.big
def test_pip_installs_private_packages_with_a_token(index: Index) -> None:
    wanted = f"{index.secret}==1.0"
    refused = index.pip("download", "--index-url", index.address(), wanted)
    assert refused.returncode != 0
    absent = index.pip("download", "--index-url", index.address(), wanted.replace("secret", "absent"))
    assert refused.stderr.replace("secret", "absent") == absent.stderr
    assert list(index.install(wanted, token=index.token)) == ["secret"]
    netrc = index.folder / "home" / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {index.token}\n")
    assert list(index.install(wanted)) == ["secret"]
    # What is there for something else at this host keeps nobody from reading what is public.
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    assert list(index.install(f"{index.iris}==1.2.0")) == ["iris"]
    netrc.unlink()
    wrong = index.pip("download", "--index-url", index.address("dpk_wrong"), f"{index.iris}==1.2.0")
    assert wrong.returncode != 0


@pytest.mark.big
def test_pip_reads_metadata_without_the_wheel(index: Index) -> None:
    done = index.pip("install", "--dry-run", "-vv", "--index-url", index.address(), f"{index.iris}==1.2.0")
    assert done.returncode == 0, done.stderr
    assert ".whl.metadata" in done.stdout
