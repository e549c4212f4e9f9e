"""Makes this checkout importable from the environment that runs the script, as an installed wheel would be.

A wheel puts `daft_k8s.pth` at the top of site-packages, so that `DAFT_RUNNER=k8s` works in an unchanged script.
The same file is written here, with the checkout's path in front.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOOK = ROOT / "daft_k8s.data" / "purelib" / "daft_k8s.pth"


def main() -> None:
    if sys.prefix == sys.base_prefix:
        sys.exit("This script links the checkout into a virtual environment; run it with one's Python.")
    target = Path(sysconfig.get_path("purelib")) / HOOK.name
    target.write_text(f"{ROOT}\n{HOOK.read_text()}")


if __name__ == "__main__":
    main()
