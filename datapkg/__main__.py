"""The program `datapkg`, also as `python -m datapkg`: guards even the moments in which its own modules are loaded."""

import sys


def main() -> int:
    """Runs the command line of this process; gives its exit code."""
    try:
        from datapkg.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
