"""``python -m openreml_core`` does what ``openreml`` does."""

from __future__ import annotations

import sys

from openreml_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
