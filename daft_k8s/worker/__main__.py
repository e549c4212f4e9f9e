"""`python -m daft_k8s.worker`."""

from __future__ import annotations

import sys

from daft_k8s.boot.first_process import stand_before


def main() -> int:
    """Runs a worker; as a child, where this process is a container's first."""
    code = stand_before()
    if code is not None:
        return code
    # Not above: the process that stands by shall be small.
    from daft_k8s.worker.process import main as work

    return work()


if __name__ == "__main__":
    sys.exit(main())
