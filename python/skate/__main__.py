"""`python -m skate`: the same as the program `skate`."""

import sys

from skate.cli import main

sys.exit(main())
