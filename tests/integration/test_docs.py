"""What the documents tell a reader to do on a cluster, done as it stands; their manifests shown to its API server.

Only names differ: the image, the namespace, and the size of workers, which is that of a small cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import ROOT, Block, all_blocks, blocks
from tests.integration.cluster import Namespace, kubectl, wait_until

TIMEOUT_SECONDS = 110
MANIFESTS = [block for block in all_blocks("yaml") if re.search(r"^kind: ", block.text, re.MULTILINE)]
SMALL = (
    "workers.cpu=0.25,workers.memory=512Mi,driver.resources.requests.cpu=100m,driver.resources.requests.memory=256Mi"
)


class Reader:
    """A shell in an empty folder, with the namespace as kubectl's own, and `daft-k8s` and `python` on the path."""

    def __init__(self, folder: Path, namespace: Namespace) -> None:
        self._namespace = namespace
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        self._program(programs / "daft-k8s", "-m daft_k8s.cli")
        self._program(programs / "python", "")
        (folder / "charts").symlink_to(ROOT / "charts")
        config = folder / "kubeconfig"
        config.write_text(kubectl("config", "view", "--raw", "--flatten"))
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(config),
            "DAFT_K8S_WORKER_CPU": "0.25",
            "DAFT_K8S_WORKER_MEMORY": "512Mi",
        }
        self.do(f"kubectl config set-context --current --namespace={namespace.name}")

    @staticmethod
    def _program(path: Path, arguments: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        path.chmod(0o755)

    def do(self, script: str) -> str:
        """Runs lines of a document until one fails; returns all that they print."""
        repository, _, tag = self._namespace.image.rpartition(":")
        for shown, real in {
            "registry.example.com/daft-k8s:0.1.0": self._namespace.image,
            "image.repository=registry.example.com/daft-k8s": f"image.repository={repository},image.tag={tag},{SMALL}",
            "-n jobs": f"-n {self._namespace.name}",
        }.items():
            script = script.replace(shown, real)
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def reader(empty_namespace: Namespace, tmp_path: Path) -> Iterator[Reader]:
    yield Reader(tmp_path, empty_namespace)


def shell_below(document: str, heading: str) -> str:
    """The shell blocks of a section, as one script."""
    lines = (ROOT / document).read_text().splitlines()
    begin = lines.index(heading) + 1
    end = next((i for i in range(begin, len(lines)) if lines[i].startswith("## ")), len(lines)) + 1
    found = [block.text for block in blocks(document) if block.language == "sh" and begin <= block.line <= end]
    assert found, f"{document} has no commands below {heading!r}"
    return "\n".join(found)


def what_is_left(namespace: Namespace) -> list[str]:
    names = namespace.kubectl("get", "jobs,pods,configmaps,secrets,leases,roles,networkpolicies", "-o", "name").split()
    return [name for name in names if "kube-root-ca" not in name and "driver" not in name]


def test_the_quick_start_on_a_cluster_runs_as_it_stands(reader: Reader, empty_namespace: Namespace) -> None:
    (reader.folder / "totals.py").write_text(
        next(block.text for block in blocks("docs/index.md") if block.language == "python")
    )
    printed = reader.do(shell_below("docs/index.md", "## On a cluster"))
    assert "small" in printed and "30" in printed and "70" in printed, printed
    wait_until(lambda: what_is_left(empty_namespace) == [], 30, "everything of the run is gone")


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_the_way_from_nothing_to_a_result_with_the_chart_runs_as_it_stands(
    reader: Reader, empty_namespace: Namespace
) -> None:
    printed = reader.do(shell_below("charts/daft/README.md", "## From nothing to a result"))
    assert "customer" in printed and "49999500000" in printed, printed
    wait_until(lambda: what_is_left(empty_namespace) == [], 60, "everything of the release is gone")


@pytest.mark.parametrize("block", MANIFESTS, ids=str)
def test_an_api_server_takes_every_manifest(block: Block, namespace: Namespace) -> None:
    for manifest in yaml.safe_load_all(block.text):
        namespace.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=manifest)
