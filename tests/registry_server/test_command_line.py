"""The command line of the registry's operator."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
import requests
from packaging.requirements import Requirement
from sqlalchemy.exc import OperationalError

from datapkg.format import wire
from registry_server import __main__ as program
from registry_server.services import registry as registry_module
from registry_server.settings import read_settings
from tests.examples import first
from tests.live_registry import ROOT, live_registry
from tests.registry_server.asgi import Contents, House
from tests.registry_server.test_checks import OTHER, ROWS, contents, parquet, stated


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, without the environment variables of the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    out, err = io.StringIO(), io.StringIO()
    environ = mock.patch.dict(os.environ, kept | environment, clear=True)
    with environ, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = program.run([*arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in its own process, where even a warning during imports is an error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATAPKG_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "registry_server", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check_failure(done: subprocess.CompletedProcess[str], code: int) -> dict[str, Any]:
    """Assert one line with the error and at most one with a hint, or the same as JSON, and return that."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if "--json" not in done.args:
        said, *hint = done.stderr.splitlines()
        assert said.startswith("error: ")
        assert all(line.startswith("hint: ") for line in hint)
        assert len(hint) <= 1
        return {}
    error: dict[str, Any] = json.loads(done.stderr)["error"]
    assert set(error) == {"code", "message", "hint", "detail"}
    return error


def test_a_user_is_added_and_listed(tmp_path: Path) -> None:
    House(tmp_path / "new").close()
    data = str(tmp_path / "new" / "registry")
    done = run_process("user", "add", "ada", "--data", data, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (answer["user"], answer["token"][:4]) == ("ada", "dpk_")
    plain = run("user", "add", "bob", "--data", data)
    assert plain.stdout.count("dpk_") == 1
    assert re.fullmatch(r"dpk_\S+\n", run("user", "add", "cy", "--data", data, "--quiet").stdout)
    more = json.loads(run("user", "token", "ada", "--data", data, "--json").stdout)
    assert more["token"] != answer["token"]
    users = json.loads(run("user", "list", "--data", data, "--json").stdout)["users"]
    assert [(each["user"], each["tokens"], each["packages"]) for each in users] == [
        ("ada", 2, 0),
        ("bob", 1, 0),
        ("cy", 1, 0),
    ]
    assert "bob" in run("user", "list", DATAPKG_REGISTRY_DATA=data).stdout
    assert json.loads(run("user", "revoke", "ada", "--data", data, "--json").stdout) == {"user": "ada", "revoked": 2}


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_invalid_command_reports_one_error(
    tmp_path: Path, json_: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    House(tmp_path).close()
    data = ["--data", str(tmp_path / "registry"), *json_]
    assert run("user", "add", "ada", *data).returncode == 0
    capsys.readouterr()
    for arguments, code in [
        (["user", "add", "ada", *data], 4),
        (["user", "add", "Not Allowed", *data], 2),
        (["user", "add", "api", *data], 2),
        (["user", "add", "\udcff", *data], 2),
        (["user", "token", "nosuch", *data], 3),
        (["user", "revoke", "nosuch", *data], 3),
        (["user", "add", *data], 2),
        (["user", "nosuch", *json_], 2),
        (["nosuch", *json_], 2),
        (["serve", "--port", "x", *data], 2),
        (["serve", "--port", "-1", *data], 2),
        (["serve", "--port", "65536", *data], 2),
        (["serve", "--host", "no.such.host.invalid", *data], 4),
        (["serve", "--host", "192.0.2.1", *data], 4),
        (["serve", "--public-url", "ftp://x", *data], 2),
        (["serve", "--public-url", "https://data.example.org/below", *data], 2),
        (["serve", "--nosuch", *data], 2),
    ]:
        done = subprocess.CompletedProcess(arguments, program.run(arguments), *capsys.readouterr())
        error = check_failure(done, code)
        assert not json_ or error["code"] in ("invalid", "not_found", "conflict")


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("serv", "'serv'; did you mean 'serve'?"),
        ("chek", "'chek'; did you mean 'check'?"),
        ("user ad", "'ad'; did you mean 'add'?"),
        ("user revok", "'revok'"),
        ("user xyz", "'xyz'"),
    ],
)
def test_mistyped_command_suggests_only_harmless_commands(typed: str, advice: str) -> None:
    assert run(*typed.split()).stderr.startswith(f"error: there is no command {advice}\n")


@pytest.mark.parametrize("words", [["user", "add", "ada"], ["user", "list"], ["user", "token", "ada"], ["check"]])
def test_only_serve_creates_a_registry(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "mistyped", tmp_path / "empty"):
        assert program.run([*words, "--data", str(folder)]) == 2
        said = capsys.readouterr().err
        assert f"there is no registry in {folder}" in said
        assert f"datapkg-registry serve --data {folder}" in said
    assert [each.name for each in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("left", ["missing", "empty", "without tables"])
def test_a_lost_database_beside_objects_is_not_replaced(
    tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path)
    house.user("ada").publish("ada/iris", {str(number): b"%d" % number for number in range(70)})
    house.close()
    database = house.settings.database
    for each in database.parent.glob("registry.db*"):
        each.unlink()
    if left != "missing":
        database.touch()
    if left == "without tables":
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.executescript("PRAGMA user_version = 1; CREATE TABLE x (y); DROP TABLE x;")
    size = database.stat().st_size if left != "missing" else None
    for words in (["serve", "--port", "0"], ["user", "add", "bob"], ["check"]):
        assert program.run([*words, "--data", str(house.settings.data)]) == 2
        said = capsys.readouterr().err
        assert "restore registry.db from a backup" in said
    assert (database.stat().st_size if database.exists() else None) == size


def test_sweep_prints_what_it_deletes(tmp_path: Path) -> None:
    house = House(tmp_path)
    ada = house.user("ada")
    ada.publish("ada/iris", {"a": b"kept"})
    ada.publish("ada/gone", {"a": b"gone"})
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    data = ["--data", str(house.settings.data)]
    unused = {"moved_files": 2, "moved_bytes": 4 + len(Contents({"a": b"gone"}).manifest.data)}
    assert json.loads(run("sweep", *data, "--json").stdout)["moved_files"] == 0
    would = json.loads(run("sweep", "--dry-run", "--grace", "0", *data, "--json").stdout)
    assert would.items() >= {"dry_run": True, **unused}.items()
    assert "2 unused files would be moved" in run("sweep", "-n", "--grace", "0", *data).stdout
    done = json.loads(run("sweep", "--grace", "0", *data, "--json").stdout)
    assert done == would | {"dry_run": False, "removed_objects": 2}
    assert "2 files deleted from it (" in run("sweep", "--grace", "0", *data).stdout
    check_failure(run("sweep", "--grace", "-1", *data, "--json"), 2)
    house.close()


def test_check_lists_damaged_objects(tmp_path: Path) -> None:
    house = House(tmp_path)
    hash = house.user("ada").publish("ada/iris", {"a": b"1"})
    data = ["--data", str(house.settings.data), "--json"]
    done = run("check", *data)
    clean = {name: [] for name in ("damaged", "database", "rows", "repaired")}
    unused = {"unused_objects": 0, "unused_bytes": 0}
    assert (done.returncode, json.loads(done.stdout)) == (0, {"checked": 3, **clean, **unused})
    house.damage(hash)
    assert run("check", "--quick", *data).returncode == 0
    done = run("check", *data)
    damaged = [{"hash": hash, "packages": ["ada/iris"], "reason": "bytes"}]
    assert (done.returncode, json.loads(done.stdout)["damaged"]) == (6, damaged)
    assert run("verify", *data).stdout == done.stdout
    assert "(bytes) of ada/iris" in run("check", *data[:2]).stdout
    house.close()


def test_check_reports_a_damaged_database(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.user("ada").publish("ada/iris", {"a": b"1"})
    house.close()
    with contextlib.closing(sqlite3.connect(house.settings.database)) as connection:
        connection.execute("DROP TABLE tags")
    data = ["--data", str(house.settings.data)]
    done = run("check", *data, "--json")
    assert (done.returncode, json.loads(done.stdout)["database"]) == (6, ["table tags is missing"])
    done = run("check", *data)
    assert (done.returncode, "registry.db: table tags is missing; restore it" in done.stdout) == (6, True)
    with contextlib.closing(sqlite3.connect(house.settings.database)) as connection:
        connection.execute("DROP TABLE tokens")
    error = check_failure(run("user", "list", *data, "--json"), 2)
    assert "no such table: tokens" in error["message"]


@pytest.mark.big
def test_check_content_checks_unchecked_tables(tmp_path: Path) -> None:
    house, body = House(tmp_path, max_check_bytes=0), parquet(OTHER)
    lie = contents([stated(ROWS, body)], body)
    house.user("ada").push("ada/iris", lie)
    data = ["--data", str(house.settings.data)]
    assert run("check", *data).returncode == 0
    done = run("check", "--content", *data, "--json")
    assert done.returncode == 6
    (false,) = json.loads(done.stdout)["tables"]["false"]
    assert (false["package"], false["state"], false["path"]) == ("ada/iris", lie.manifest.hash, "t")
    assert "false content: t of ada/iris@sha256:" in run("check", "--content", *data).stdout
    house.close()


@pytest.mark.parametrize("what", ["user", "serve"])
def test_unusable_data_folder_is_an_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("x")
    start = run if what == "user" else run_process  # serving changes limits of its process
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/registry")):
        arguments = ["user", "add", "ada"] if what == "user" else ["serve", "--port", "0"]
        error = check_failure(start(*arguments, "--data", str(folder), "--json"), 2)
        assert str(folder) in error["message"]


@pytest.mark.parametrize("name", ["objects", "packs", "tmp", "trash"])
def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path, name: str) -> None:
    House(tmp_path).close()
    (tmp_path / "registry" / name).write_bytes(b"x")
    error = check_failure(run("user", "add", "ada", "--data", str(tmp_path / "registry"), "--json"), 2)
    assert f"{name} is not a folder" in error["message"]


def test_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"this is no database" * 1_000)
    error = check_failure(run("user", "add", "ada", "--data", str(tmp_path), "--json"), 2)
    assert "registry.db" in error["message"]


def test_all_invalid_settings_are_listed(tmp_path: Path) -> None:
    wrong = {"DATAPKG_REGISTRY_MAX_TAGS": "many", "DATAPKG_REGISTRY_BODY_TIMEOUT_S": "-1"}
    error = check_failure(run("user", "list", "--data", str(tmp_path), "--json", **wrong), 2)
    assert sorted(place for place, _ in error["detail"]["problems"]) == sorted(wrong)


def test_options_override_the_environment() -> None:
    environment = {"DATAPKG_REGISTRY_PORT": "1", "DATAPKG_REGISTRY_HOST": "h", "DATAPKG_REGISTRY_MAX_TAGS": "5"}
    settings = read_settings(environment, port=2, host=None, public_url="https://data.example.org/")
    assert (settings.port, settings.host, settings.max_tags) == (2, "h", 5)
    assert settings.url == "https://data.example.org"
    assert read_settings({}, host="::", port=80).address == "http://[::1]:80"
    assert read_settings({}, host="0.0.0.0", port=80).url == "http://127.0.0.1:80"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["user", "--help"], ["user", "add", "-h"], ["sweep", "--help"]]
)
def test_help_has_an_example(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "datapkg-registry" in done.stdout


def test_no_command_prints_help() -> None:
    done = run_process()
    assert done.returncode == 2
    assert "serve" in done.stderr
    assert run_process("--version").returncode == 0


def test_port_in_use_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_process("serve", "--data", str(tmp_path / "registry"), "--port", str(port), "--json")
    error = check_failure(done, 4)
    assert (error["code"], str(port) in error["message"]) == ("conflict", True)


@pytest.mark.parametrize("number", first(1, [signal.SIGTERM, signal.SIGINT]))
def test_server_stops_cleanly(tmp_path: Path, number: int) -> None:
    with live_registry(tmp_path) as registry:
        session = requests.Session()
        assert session.get(f"{registry.url}/healthz", timeout=10).status_code == 200
        registry.process.send_signal(number)
        assert registry.process.wait(20) == 0
        session.close()
        said = registry.log.read_text()
    assert "Traceback" not in said
    assert "datapkg-registry user add NAME" in said


def test_open_upload_delays_stopping_only_briefly(tmp_path: Path) -> None:
    with live_registry(tmp_path) as registry:
        token = registry.add_user("ada")
        base = f"{registry.url}{wire.PACKAGES}/ada/iris/pushes"
        headers = {"Authorization": f"Bearer {token}"}
        asked = {"manifest": "0" * 64, "hashes": []}
        push = requests.post(base, json=asked, headers=headers, timeout=10).json()["push"]
        address = urlsplit(registry.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            head = f"PUT {urlsplit(base).path}/{push}/objects/{'0' * 64} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
            connection.sendall(f"{head}Authorization: Bearer {token}\r\n\r\nbegun".encode())
            time.sleep(0.5)
            registry.process.terminate()
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert registry.process.wait(30) == 0
        assert b"HTTP/1.1 503" in answer
        assert b"the registry is stopping" in answer
        said = registry.log.read_text()
    assert "Traceback" not in said
    assert not list((tmp_path / "registry" / "tmp").glob("*"))


def test_first_line_of_output_is_the_address(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "registry_server", "serve", "--port", "0", "--public-url", "https://data.example.org"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATAPKG_REGISTRY_DATA": str(tmp_path / "registry")},
    )
    assert process.stdout
    url = json.loads(process.stdout.readline())["url"]
    assert url.startswith("http://127.0.0.1:")
    assert requests.get(f"{url}/healthz", timeout=10).json() == {"status": "ok"}
    process.terminate()
    out, said = process.communicate(timeout=20)
    assert out == ""
    assert "https://data.example.org" in said


def test_missing_library_prints_the_install_command(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from registry_server.__main__ import run; sys.exit(run(['serve', '--data', sys.argv[1], '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 9
    assert "uvicorn" in done.stderr
    hint = done.stderr.partition("hint: ")[2].strip()
    program, action, *libraries = shlex.split(hint)
    assert (program, action) == ("pip", "install")
    assert {"uvicorn", "fastapi", "nh3"} <= {Requirement(each).name for each in libraries}
    assert "pytest" not in hint


def test_second_server_for_a_folder_is_rejected(tmp_path: Path) -> None:
    with live_registry(tmp_path) as first:
        ended = run("serve", "--data", str(first.data), "--port", "0")
        assert ended.returncode == 4
        assert f"another process serves the registry of {first.data}" in ended.stderr
        first.kill()
        with live_registry(tmp_path) as second:
            assert requests.get(second.url, timeout=10).ok


@pytest.mark.big
def test_hints_name_the_folder_and_counts_have_the_right_plural(tmp_path: Path) -> None:
    with live_registry(tmp_path):
        folder = tmp_path / "registry"
        data = ["--data", str(folder)]
        run("user", "add", "ada", *data)
        known = run("user", "add", "ada", *data).stderr
        assert known == f"error: user 'ada' exists\nhint: datapkg-registry user token ada --data {folder}\n"
        unknown = run("user", "token", "bob", *data).stderr
        assert unknown == f"error: user 'bob' not found\nhint: datapkg-registry user list --data {folder}\n"
        assert "1 token, 0 packages, since " in run("user", "list", *data).stdout
        assert run("user", "revoke", "ada", *data).stdout == "revoked 1 token of ada\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("serve --port abc", "--port is 'abc'; expected a whole number from 0 to 65,535, such as --port 8484"),
        ("serve --port 99999", "--port is '99999'; expected a whole number from 0 to 65,535, such as --port 8484"),
        ("sweep --grace nan", "--grace is 'nan'; expected a number from 0 to 1,000,000, such as --grace 1.5"),
    ],
)
def test_wrong_values_of_options_name_what_was_expected(words: str, message: str) -> None:
    hint = f"datapkg-registry {words.split()[0]} --help"
    assert run(*words.split()).stderr == f"error: {message}\nhint: {hint}\n"


def test_import_of_a_missing_export_makes_no_registry(tmp_path: Path) -> None:
    ended = run("import", str(tmp_path / "no" / "export"), "--data", str(tmp_path / "registry"))
    assert "there is no file or folder '" in ended.stderr  # a long path is shortened
    assert "; no registry was made" in ended.stderr
    assert f"hint: ls {tmp_path}\n" in ended.stderr
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/r/tmp/a"), "/r/tmp/a: No space left on device", 1),
        (PermissionError(errno.EACCES, "Permission denied", "/r/a"), "/r/a: Permission denied", 7),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", 1),
    ],
)
def test_errors_of_the_system_are_reported_in_our_words(error: OSError, message: str, code: int) -> None:
    found = program._translated(error)
    assert (found.message, found.exit_code) == (message, code)
    assert found.hint
    assert "traceback" not in found.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("database or disk is full", "make room in"),
        ("attempt to write a readonly database", "ls -ld"),
        ("database is locked", "fuser"),
        ("disk I/O error", "dmesg"),
        ("file is not a database", "restore it from a backup"),
    ],
)
def test_database_without_space_or_rights_is_not_called_damaged(tmp_path: Path, said: str, hint: str) -> None:
    error = OperationalError("SELECT 1", None, sqlite3.OperationalError(said))
    assert hint in registry_module.unusable(read_settings({}, data=tmp_path), error).hint
