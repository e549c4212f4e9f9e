"""`python -m daft_k8s.cli`."""

from __future__ import annotations

from daft_k8s.cli.main import main

if __name__ == "__main__":
    main()
