"""`python -m services.api.ingest`: the ingest alone."""

from __future__ import annotations

import sys

from services.api.ingest.process import run

if __name__ == "__main__":
    sys.exit(run())
