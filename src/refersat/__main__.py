"""`python -m refersat`: the same as the `refersat` command."""

import sys

from refersat.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
