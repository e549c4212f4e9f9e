"""The chart as helm renders it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[3] / "charts" / "daft"

SMALL: dict[str, Any] = {
    "image": {"repository": "registry.example.com/daft-k8s"},
    "script": {"content": "print('hello')\n"},
}
"""The least that has to be set."""


class ChartError(Exception):
    """Helm refused; its words."""


class Helm:
    """Runs `helm template`.

    Args:
        program: Its path.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def render(
        self, values: dict[str, Any] | None = None, *, release: str = "totals", namespace: str = "team"
    ) -> dict[str, dict[str, Any]]:
        """The objects by `kind/name`, with SMALL under the values.

        Raises:
            ChartError: Helm refused.
        """
        text = self.run("template", release, str(CHART), "--kube-version", "1.34.0", "-n", namespace, values=values)
        objects = [document for document in yaml.safe_load_all(text) if document]
        named = {f"{document['kind']}/{document['metadata']['name']}": document for document in objects}
        assert len(named) == len(objects), "two objects with one name"
        return named

    def lint(self, values: dict[str, Any] | None = None) -> str:
        return self.run("lint", "--strict", "--kube-version", "1.34.0", str(CHART), values=values)

    def run(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        done = subprocess.run(
            [self._program, *arguments, "-f", "-"],
            input=json.dumps(merged(SMALL, values or {})),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise ChartError(done.stderr + done.stdout)
        return done.stdout


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Maps merged as helm merges values."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def only(objects: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    [found] = [item for name, item in objects.items() if name.startswith(f"{kind}/")]
    return found


def driver_pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The Pod template of the Job."""
    return only(objects, "Job")["spec"]["template"]


def container(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    [found] = driver_pod(objects)["spec"]["containers"]
    return found


def environment(objects: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The driver's plain variables."""
    return {entry["name"]: entry["value"] for entry in container(objects)["env"] if "value" in entry}
