"""A cluster of kind for tests that no kubeconfig leads to one, where Docker is there. Made by pytest-kind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAME = "daft-k8s-test"
KIND_VERSION = "v0.30.0"
"""Taken where no kind is installed, unless the variable of this name says another: pytest-kind's own is of 2022."""
_DOCKER_SECONDS = 20


def why_not() -> str:
    """The reason why no cluster can be made here, or "". Downloads nothing and changes nothing."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=_DOCKER_SECONDS)
    except subprocess.TimeoutExpired:
        return f"docker has not answered for {_DOCKER_SECONDS} s"
    if done.returncode:
        return f"docker does not run: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
    return ""


@contextlib.contextmanager
def cluster(folder: Path, image: str) -> Iterator[Path]:
    """Makes the cluster, or joins those who use it already; gives its kubeconfig. The last one deletes it.

    Args:
        folder: Shared by all processes of a run.
        image: Put on its node; Docker must have it.
    """
    os.environ.setdefault("KIND_VERSION", KIND_VERSION)
    from pytest_kind.cluster import KindCluster  # here: it reads that variable when it is loaded

    kind = shutil.which("kind")
    made = KindCluster(NAME, folder / "kubeconfig", kind_path=Path(kind) if kind else None)
    users = folder / "users"
    with _locked(folder):
        users.touch()
        if not users.read_text():
            made.create()
            made.load_docker_image(image)
        users.write_text(users.read_text() + "x")
    try:
        yield made.kubeconfig_path
    finally:
        with _locked(folder):
            users.write_text(users.read_text()[1:])
            if not users.read_text():
                made.delete()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
