"""How long does datapkg take for minimal commands?"""

from __future__ import annotations

import sys
from pathlib import Path

from _bench import Row, at_most, options, report, run, seconds, workplace


def main() -> None:
    chosen = options(__doc__, repeats=(1, 15, 15), nodes=(100, 10_000, 10_000))
    python = Path(sys.executable).name
    with workplace() as (folder, environ):
        source = folder / "many"
        for number in range(chosen.nodes):
            path = source / f"{number % 100:02}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
        run("datapkg", "build", "me/many", str(source), environ=environ)

        def took(*command: str) -> float:
            return 1000 * seconds(lambda: run(*command, environ=environ), chosen.repeats)

        bare = took(python, "-c", "pass")
        over: dict[str, tuple[float, float | None]] = {
            "datapkg --version": (took("datapkg", "--version"), 50),
            "datapkg ls": (took("datapkg", "ls"), 90),
            "import datapkg": (took(python, "-c", "import datapkg"), None),
            f"import a package of {chosen.nodes:,} nodes": (took(python, "-c", "from datapkg.data.me import many"), 25),
        }
    rows: list[Row] = [{"what": "python -c pass", "ms": bare}]
    for what, (value, bar) in over.items():
        rows.append(
            {"what": f"{what}, over it", "ms": value - bare, **({} if bar is None else at_most(value - bare, bar))}
        )
    report(chosen, rows)


if __name__ == "__main__":
    main()
