"""The program `datapkg`, also as `python -m datapkg`: guards even the moments in which its own modules are loaded."""

import gc
import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    # A command is over soon, and makes few cycles: looking for them among 10,000 nodes takes longer than making these.
    gc.set_threshold(100_000, 20, 100)
    try:
        from datapkg.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        # Python looks for cycles once more as it ends; with large libraries loaded, that takes a tenth of a second.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
