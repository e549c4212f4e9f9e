"""Daft's own dashboard shows the queries of this runner. Not covered: how it looks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.remote_driver import RemoteDriver, poll


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[str]:
    """The URL of a dashboard."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    daft = Path(sys.executable).with_name("daft")
    command = [daft, "dashboard", "start", "--addr", "127.0.0.1", "--port", str(port), "--pid-dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            poll(lambda: queries(url) == {}, 30, "the dashboard does not answer")
            yield url
        finally:
            process.kill()


def queries(url: str) -> dict[str, Any] | None:
    """The queries that it knows, by their ids; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/client/queries", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, urllib.error.URLError):
        return None


def test_the_dashboard_shows_a_query_and_how_it_ended(dashboard: str, tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, before=f"import os; os.environ['DAFT_DASHBOARD_URL'] = {dashboard!r}") as driver:
        assert driver.run("answer = df.groupby('key').agg(col('id').sum()).count_rows()") == 7

    def has_finished() -> bool:
        return any(query["status"]["status"] == "Finished" for query in (queries(dashboard) or {}).values())

    poll(has_finished, 20, lambda: f"it knows {queries(dashboard)}")
