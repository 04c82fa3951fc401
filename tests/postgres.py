"""A PostgreSQL server for tests, on a socket in a temporary folder, without a network port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# What it may lose in a crash is nobody's.
_SETTINGS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


@contextlib.contextmanager
def postgres(programs: Path, password: str) -> Iterator[str]:
    """Start a server from the programs in a folder; yield its SQLAlchemy URL, with user and password.

    It does not run as root, which hands it to the user that Debian makes for it.
    """
    folder = Path(tempfile.mkdtemp(prefix="datapkg-pg-"))
    as_user = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(program: str, *arguments: object) -> None:
        command = [str(programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **as_user)  # type: ignore[call-overload]

    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    how = ("-U", "alice", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
    run("initdb", "-D", folder / "data", *how)
    run("pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", f"-k {folder} {_SETTINGS}", "start")
    try:
        yield f"postgresql://alice:{password}@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
