"""`python -m datapkg` is `datapkg`."""

import sys

from datapkg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
