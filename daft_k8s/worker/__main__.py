"""`python -m daft_k8s.worker`."""

from __future__ import annotations

import sys

from daft_k8s.worker.process import main

if __name__ == "__main__":
    sys.exit(main())
