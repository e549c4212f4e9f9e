"""The start of a driver's container whose code came along in parts.

`python -m daft_k8s.code.entry PARTS TARGET ARGS...` puts the parts together, unpacks them, and becomes
`python ARGS...` in that folder.
"""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path

from daft_k8s.boot.first_process import stand_before
from daft_k8s.code.unpack import read_manifest, unpack_bundle
from daft_k8s.errors import CodeError

DIGEST_FILE = "digest"
MANIFEST_PART = "manifest"
ARCHIVE_PART = "archive"
"""Parts are named `manifest-000`, `manifest-001`, ..., `archive-000`, ...: a Secret holds less than 1 MiB."""

_CONFIGURATION = 3
"""The exit code of the command `daft-k8s` for such errors."""


def unpack_parts(parts: Path, target: Path) -> None:
    """Unpacks what lies in parts.

    Raises:
        CodeError: A part is missing or damaged.
    """
    try:
        digest = (parts / DIGEST_FILE).read_text().strip()
        manifest, archive = (
            b"".join(path.read_bytes() for path in sorted(parts.glob(f"{name}-*")))
            for name in (MANIFEST_PART, ARCHIVE_PART)
        )
    except OSError as error:
        raise CodeError(f"the driver's code cannot be read: {error}") from error
    unpack_bundle(BytesIO(archive), read_manifest(manifest, digest), str(target))


def main() -> int:
    """Unpacks, then becomes the program; behind another process, where this one is a container's first."""
    ended = stand_before()
    if ended is not None:
        return ended
    _, parts, target, *program = sys.argv
    try:
        unpack_parts(Path(parts), Path(target))
        os.chdir(target)
    except (CodeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _CONFIGURATION
    os.execv(sys.executable, [sys.executable, *program])


if __name__ == "__main__":
    sys.exit(main())
