"""Makes this checkout importable from the environment that runs the script, as an installed wheel would be.

A wheel puts `daft_k8s.pth` at the top of site-packages, so that `DAFT_RUNNER=k8s` works in an unchanged script, and the
commands of `[project.scripts]` beside Python. The same files are written here, the first with the checkout's path in
front.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOOK = ROOT / "daft_k8s.data" / "purelib" / "daft_k8s.pth"
COMMAND = """\
#!{python}
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""


def commands() -> dict[str, tuple[str, str]]:
    """The module and function of each command; read by hand, as Python 3.10 has no parser for TOML."""
    table = re.search(r"^\[project\.scripts\]\n((?:.+\n)*)", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    entries = re.findall(r'^([\w-]+) = "([\w.]+):(\w+)"$', table.group(1) if table else "", re.MULTILINE)
    return {name: (module, function) for name, module, function in entries}


def link(purelib: Path, scripts: Path, python: str) -> None:
    """Writes the files into an environment's folders for packages and for commands."""
    (purelib / HOOK.name).write_text(f"{ROOT}\n{HOOK.read_text()}")
    for name, (module, function) in commands().items():
        target = scripts / name
        target.write_text(COMMAND.format(python=python, module=module, function=function))
        target.chmod(0o755)


def main() -> None:
    if sys.prefix == sys.base_prefix:
        sys.exit("This script links the checkout into a virtual environment; run it with one's Python.")
    link(Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts")), sys.executable)


if __name__ == "__main__":
    main()
