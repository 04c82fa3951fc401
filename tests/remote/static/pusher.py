"""Push one state after another, to a package of its own and to a shared one in turn: one of the many pushers.

Run as `python -m tests.remote.static.pusher NUMBER PUSHES FOLDER`; what was acknowledged is a line in
`FOLDER/NUMBER.txt`, with which a process that takes over goes on.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import Conflict, Unreachable
from datapkg.format.names import Ref, State
from datapkg.home import Home

SHARED = Ref("ada", "shared")
MAX_TRIES = 20
MAX_PAUSE_S = 4


def main(number: int, pushes: int, folder: Path) -> None:
    """Push until so many pushes were acknowledged, those of earlier processes included."""
    home, acknowledged = Home(), folder / f"{number}.txt"
    done = len(acknowledged.read_text().splitlines()) if acknowledged.exists() else 0
    data = folder / f"{number}.csv"
    for each in range(done, pushes):
        ref = SHARED if each % 2 else Ref("ada", f"own{number}")
        data.write_text(f"pusher,push\n{number},{each}\n")
        hash = build_package(home, ref, data).hash
        push(home, ref.at(State("hash", hash)))
        with acknowledged.open("a") as file:
            file.write(f"{ref.package} {hash}\n")


def push(home: Home, exact: Ref) -> None:
    """Push a state after whatever the others pushed."""
    tries, pause_s = MAX_TRIES, 0.5
    while True:
        try:
            push_package(home, exact)
            return
        except Conflict:  # as of people, who do not all type again at the same moment
            time.sleep(random.random() * pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            (outcome,) = install_packages(home, [exact.at(None)])
            if outcome.error and not isinstance(outcome.error, Unreachable):
                raise outcome.error from None
        except Unreachable:  # a store that is busy; typed again, the push goes on
            tries -= 1
            if not tries:
                raise
            time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
