"""``python -m fedcore_operator run | check``."""

import sys

from fedcore_operator.runtime.main import main

sys.exit(main(sys.argv[1:]))
