"""OpenSSH's server for tests, on this machine, with keys of its own and a home whose `ssh` reaches it."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import find_program

START_S = 20


@dataclass
class SshServer:
    """A running server: its port, and the home of a user that may log in."""

    port: int
    home: Path
    process: subprocess.Popen[bytes]
    command: list[str]

    def url(self, folder: Path) -> str:
        """Return the address of a folder of this machine, as the server serves it."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{folder}"

    def restart(self) -> None:
        """Kill the server with all its connections, and start it again."""
        self.stop()
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        _wait(self.port)

    def stop(self) -> None:
        """Kill the server with all its connections."""
        sessions = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        self.process.kill()
        self.process.wait()
        for pid in sessions.stdout.split():
            subprocess.run(["kill", "-9", pid], check=False)


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run a server in a folder of its own; it needs no rights of root."""
    sshd = find_program("sshd")
    assert sshd is not None
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    for key in (folder / "host_key", home / ".ssh" / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(home / ".ssh" / "id_ed25519.pub", folder / "authorized_keys")
    host_key = (folder / "host_key.pub").read_text()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPidFile {folder}/sshd.pid\nStrictModes no\n"
        "UsePAM no\nPasswordAuthentication no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    with contextlib.suppress(PermissionError):  # where it runs as root, it wants this folder
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
    server = SshServer(port, home, subprocess.Popen(command, stderr=subprocess.DEVNULL), command)
    try:
        _wait(port)
        yield server
    finally:
        server.stop()


def _wait(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("sshd did not start")
