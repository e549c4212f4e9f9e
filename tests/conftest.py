"""What holds for every test: no network, reproducible property tests, and an end that says what was not run.

The time-outs are in pyproject.toml: a test fails after 120 s; if it does not even notice that, the run ends after 180 s
with the stack of every thread.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# The same examples in every run of CI; on a developer's machine new ones each time. Never a time limit of its own:
# machines differ, and some are busy.
TIMELESS = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", TIMELESS)
settings.register_profile("ci", TIMELESS, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Daft reports its use to its makers unless told not to.
os.environ["DAFT_ANALYTICS_ENABLED"] = "0"
os.environ["DO_NOT_TRACK"] = "true"
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
for variable in [name for name in os.environ if name.startswith("DAFT_K8S_") or name == "DAFT_RUNNER"]:
    if variable != "SKIPPED_CHECKS_FILE":
        del os.environ[variable]  # a developer's own settings must not decide what a test sees


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str):
        return True  # a UNIX socket, or a family without hosts
    host = address[0]
    if host in ("", "localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


def _refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and not _is_local(arguments[1]):
        raise RuntimeError(f"a test tried to connect to {arguments[1]!r}; tests stay on this machine")


sys.addaudithook(_refuse_the_network)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes, unless it is asked for by its marker."""
    if "nightly" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        if left_out:
            items[:] = [item for item in items if item not in left_out]
            config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end which steps before pytest were skipped, and why (tests say it in pytest's own summary)."""
    noted = os.environ.get("SKIPPED_CHECKS_FILE")
    if noted and Path(noted).is_file():
        terminalreporter.section("checks that were skipped")
        terminalreporter.write(Path(noted).read_text())
