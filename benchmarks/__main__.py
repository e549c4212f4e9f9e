"""`python -m benchmarks` measures; see `benchmarks.bench`."""

from __future__ import annotations

from benchmarks.bench import main

raise SystemExit(main())
