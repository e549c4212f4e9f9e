"""The checks of `daft-k8s doctor` that need no cluster."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

from daft_k8s.boot.version import version
from daft_k8s.doctor.findings import Finding, failed, ok, warning
from daft_k8s.errors import DaftK8sError

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 13)
_LITTLE_DISK_BYTES = 2 << 30


def local_findings(configuration: Configuration) -> list[Finding]:
    """Python, Daft, the extension, what Pods need, and the disk."""
    return [
        check_python(sys.version_info[:2]),
        check_daft(),
        check_extension(),
        check_client(wanted=configuration.allocation != "local"),
        check_disk(configuration.spill_dir or tempfile.gettempdir()),
    ]


def check_python(found: tuple[int, ...]) -> Finding:
    shown = f"{found[0]}.{found[1]}"
    if found < OLDEST_PYTHON:
        return failed("python", f"Python {shown} is too old", "install Python 3.10 to 3.13")
    if found > NEWEST_PYTHON:
        return warning(
            "python", f"Python {shown} is newer than what daft_k8s is tested with", "use Python 3.10 to 3.13"
        )
    return ok("python", f"Python {shown}")


def check_daft() -> Finding:
    from daft_k8s.seam import checks, install

    try:
        found = importlib.metadata.version("daft")
        checks.check_version(found)
        checks.check_hooks(found)
        unknown = install.describe_unknown_hooks()
    except importlib.metadata.PackageNotFoundError:
        return failed("daft", "Daft is not installed", "pip install 'daft>=0.7.16,<0.8'")
    except DaftK8sError as error:
        return failed("daft", str(error), "pip install 'daft>=0.7.16,<0.8'")
    except ImportError as error:
        return failed("daft", f"Daft cannot be imported: {error}", "pip install --force-reinstall daft")
    if unknown is not None:
        return warning("daft", unknown, "install a newer daft_k8s")
    return ok("daft", f"Daft {found}, daft_k8s {version()}")


def check_extension() -> Finding:
    try:
        from daft_k8s import _native
    except ImportError as error:
        return failed("extension", f"daft_k8s._native cannot be imported: {error}", "install daft_k8s from a wheel")
    return ok("extension", f"protocol {_native.PROTOCOL_VERSION}")


def check_client(*, wanted: bool) -> Finding:
    try:
        found = importlib.metadata.version("kubernetes-asyncio")
    except importlib.metadata.PackageNotFoundError:
        fix = "pip install 'daft_k8s[kubernetes]'"
        text = "the package kubernetes-asyncio is not installed"
        return failed("client", text, fix) if wanted else warning("client", f"{text}; workers as Pods need it", fix)
    return ok("client", f"kubernetes-asyncio {found}")


def check_disk(folder: str) -> Finding:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK):
        return failed("disk", f"{folder} cannot be written to", "set spill_dir to a folder of yours")
    free = shutil.disk_usage(folder).free
    shown = f"{free / 2**30:.1f} GiB are free at {folder}"
    if free < _LITTLE_DISK_BYTES:
        return warning("disk", f"{shown}, which local workers may fill", "set spill_dir to a larger disk")
    return ok("disk", shown)
