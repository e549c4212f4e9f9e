"""Commands that break a cluster, and mend it: the environment names them, because every cluster has its own.

What is not named is skipped. A node's name is added to the command.

    INTEGRATION_NODE_KILL    takes a node away with all that runs on it, as a power cut does
    INTEGRATION_NODE_CUT     unplugs a node's network; what runs on it goes on
    INTEGRATION_NODE_MEND    brings either back
    INTEGRATION_API_STOP     takes the API server away
    INTEGRATION_API_START    brings it back
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.cluster import kubectl, wait_until


def command(name: str, *arguments: str) -> None:
    subprocess.run([*shlex.split(os.environ[name]), *arguments], check=True, timeout=120, capture_output=True)


def needs(*names: str) -> None:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        pytest.skip(f"nothing says how to break this cluster: {', '.join(missing)} is not set")


def node_of(pod: dict) -> str:
    return str(pod["spec"]["nodeName"])


class Nodes:
    """Breaks nodes, and mends them."""

    def __init__(self) -> None:
        self._broken: list[str] = []

    def break_node(self, how: str, node: str) -> float:
        """Breaks a node by a command; returns when."""
        self._broken.append(node)
        at = time.time()
        command(how, node)
        return at

    def mend(self) -> None:
        for node in self._broken:
            command("INTEGRATION_NODE_MEND", node)
            wait_until(lambda node=node: _is_ready(node), 120, f"{node} is ready again")


def _is_ready(node: str) -> bool:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl("get", "node", node, "-o", f"jsonpath={path}") == "True"


@contextmanager
def without_api_server() -> Iterator[float]:
    """Takes the API server away for as long as the block lasts; gives the time at which it was asked to stop."""
    needs("INTEGRATION_API_STOP", "INTEGRATION_API_START")
    at = time.time()
    command("INTEGRATION_API_STOP")
    try:
        yield at
    finally:
        command("INTEGRATION_API_START")
        wait_until(_api_answers, 60, "the API server answers")


def _api_answers() -> bool:
    try:
        kubectl("get", "--raw", "/readyz", timeout_seconds=10)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return True
