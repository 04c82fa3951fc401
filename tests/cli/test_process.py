"""The program as a process: start-up, Ctrl-C, closed pipes, full disks, terminals with a limited character set."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datapkg import __version__
from datapkg.cli.main import main
from tests.live_registry import LiveRegistry

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = {"pandas", "numpy", "pyarrow", "requests", "urllib3", "rich", "pydantic", "yaml", "filelock", "asyncio"}
PROGRAM = [sys.executable, "-m", "datapkg"]


def datapkg(
    *words: str, code: int | None = None, bytes_in: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end."""
    done = subprocess.run(
        [*PROGRAM, *words], input=bytes_in, capture_output=True, env=own(environment), timeout=60, check=False
    )
    if code is not None:
        assert done.returncode == code, done.stderr
    return done


def own(environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **environment}


@pytest.fixture
def built(iris: Path) -> str:
    """Build a package in the home."""
    assert main(["build", "me/flowers", str(iris)]) == 0
    return "me/flowers"


def test_python_m_runs_the_program() -> None:
    assert datapkg("--version", code=0).stdout == f"datapkg {__version__}\n".encode()


@pytest.mark.parametrize(
    ("words", "also"),
    [
        (["--version"], {"json", "datapkg.home", "datapkg.format.names"}),
        ([], {"json", "datapkg.home", "datapkg.format.names"}),
        (["--help"], {"json", "datapkg.home", "datapkg.format.names"}),
        (["build", "--help"], {"datapkg.home", "datapkg.api"}),
        (["ls"], {"datapkg.building", "datapkg.reading", "datapkg.remote.session"}),
        (["config"], {"datapkg.api", "datapkg.remote.session"}),
    ],
)
def test_no_heavy_library_is_loaded_at_start(words: list[str], also: set[str]) -> None:
    code = f"import sys; from datapkg.cli.main import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=own({}), text=True, check=True)
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert loaded & (HEAVY | also) == set()


def test_registry_commands_load_only_the_libraries_they_need(registry: LiveRegistry, built: str, iris: Path) -> None:
    mine = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": registry.add_user("loader")}
    assert main(["build", "loader/flowers", str(iris)]) == 0
    datapkg("push", "loader/flowers", "--version", "1.2.0", code=0, **mine)
    for words in (["push", "loader/flowers"], ["install", "loader/flowers"], ["search", "flowers"], ["whoami"]):
        code = f"import sys; from datapkg.cli.main import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=own(mine), text=True, check=True)
        loaded = set(done.stderr.splitlines()[-1].split())
        assert "requests" in loaded
        assert loaded & ((HEAVY | {"packaging"}) - {"requests", "urllib3", "filelock"}) == set()


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "login", "--token", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=own({})
    )
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert process.wait(20) == 130
    assert process.stderr.read().strip() == b"error: interrupted"
    process.stderr.close()
    assert process.stdin
    process.stdin.close()


def test_closed_pipe_ends_the_program_silently(built: str, tmp_path: Path) -> None:
    big = tmp_path / "big.csv"
    big.write_text("a\n" + "".join(f"{number}\n" for number in range(200_000)))
    assert main(["build", "me/big", str(big)]) == 0
    for command in ("cat me/big/big", "help build"):
        line = f"{sys.executable} -m datapkg {command} | head -c 5; echo ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=own({}), check=True)
        assert done.stderr in (b"141\n", b"0\n")
        assert len(done.stdout) == 5


def test_standard_output_on_a_full_disk(built: str) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("absent here: /dev/full")
    for words in (["ls"], ["cat", f"{built}/README.md"], ["ls", "--json"]):
        with full.open("wb") as stream:
            done = subprocess.run([*PROGRAM, *words], stdout=stream, stderr=subprocess.PIPE, env=own({}), check=False)
        assert done.returncode == 1
        assert b"No space left on device" in done.stderr
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(built: str, closed: str) -> None:
    for command, code in (("ls", 0), (f"show {built}", 0), ("show no/such", 3), ("login", 2)):
        line = f"{sys.executable} -m datapkg {command} {closed}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, env=own({}), check=False)
        assert done.returncode == code
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_characters_that_cannot_be_encoded(iris: Path, environment: dict[str, str]) -> None:
    (iris / "日本.txt").write_text("x")
    datapkg("build", "me/odd", str(iris), code=0)
    for words in (["show", "me/odd"], ["ls"], ["log", "me/odd"], ["--help"], ["show", "me/odd/日本"]):
        done = datapkg(*words, **environment)
        assert done.returncode in (0, 2, 3)
        assert b"Traceback" not in done.stderr
    shown = json.loads(datapkg("show", "me/odd", "--json", code=0, **environment).stdout.decode("ascii"))
    assert "日本.txt" in [node["path"] for node in shown["nodes"]]


def test_unwritable_home(tmp_path: Path, iris: Path) -> None:
    """The home is a file, so that even root cannot write there."""
    home = tmp_path / "home"
    home.write_text("")
    for words in (["build", "a/b", str(iris)], ["config", "registry", "https://x.example"], ["ls"], ["verify"]):
        done = datapkg(*words, DATAPKG_HOME=str(home))
        assert b"Traceback" not in done.stderr
        assert b"bug in datapkg" not in done.stderr
        if done.returncode:
            assert str(home).encode() in done.stderr


def at_terminal(answers: bytes, *words: str, wait_for: bytes) -> tuple[int, str]:
    """Run the program at a terminal, type the answers when it prompts, and return its exit code and screen."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [*PROGRAM, *words], own({"TERM": "dumb"}))
    shown = b""
    while piece := read_screen(screen):
        shown += piece
        if answers and wait_for in shown:
            time.sleep(0.3)  # the prompt was printed; now the program reads
            os.write(screen, answers)
            answers = b""
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def read_screen(screen: int) -> bytes:
    """Return the next output of a terminal; nothing if the program has ended or prints nothing for long."""
    try:
        return os.read(screen, 4096) if select.select([screen], [], [], 20)[0] else b""
    except OSError:  # Linux raises this if the other end is closed
        return b""


def test_delete_prompts_at_a_terminal() -> None:
    code, screen = at_terminal(b"no\r", "delete", "me/flowers", wait_for=b"Type its name")
    assert code == 2
    assert "me/flowers was not deleted" in screen
    code, screen = at_terminal(b"me/flowers\r", "delete", "me/flowers", wait_for=b"Type its name")
    assert code == 2
    assert "no registry is set" in screen


def test_login_rejects_an_invalid_url_before_it_prompts() -> None:
    assert b"not the address of a registry" in datapkg("login", "ftp://example.org", code=2).stderr


def test_login_prompts_and_hides_the_token_at_a_terminal() -> None:
    datapkg("config", "registry", "http://127.0.0.1:9", code=0)
    code, screen = at_terminal(b"two words\r", "login", wait_for=b"Token for http://127.0.0.1:9")
    assert code == 2
    assert "this is not a token" in screen
    assert "two words" not in screen


def test_ctrl_c_at_a_prompt() -> None:
    code, screen = at_terminal(b"\x03", "delete", "me/flowers", wait_for=b"Type its name")
    assert (code, "Traceback" in screen) == (130, False)
    assert "error: interrupted" in screen


def test_no_prompts_without_a_terminal() -> None:
    done = datapkg("delete", "me/flowers", code=2)
    assert b"--yes" in done.stderr
    done = datapkg("login", code=2)
    assert b"login URL --token -" in done.stderr
