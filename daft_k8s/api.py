"""The functions that users call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daft_k8s.driver.session import Session


def set_runner_k8s(
    *,
    namespace: str | None = None,
    image: str | None = None,
    num_workers: int | None = None,
    worker_cpu: float | str | None = None,
    worker_memory: int | str | None = None,
    worker_gpu: float | None = None,
    service_account: str | None = None,
    node_selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Mapping[str, object]] | None = None,
    allocation: str | None = None,
    preset: str | None = None,
    config_file: str | None = None,
    **options: object,
) -> Session:
    """Makes Daft run its queries on workers that this process starts and ends.

    Call it before the first DataFrame is made. Workers begin to start at once; the call does not wait
    for them, the first query does. What is not given here comes from the environment
    (`DAFT_K8S_<OPTION>`), the TOML file, or the preset, in this order; `None` counts as not given.

    Args:
        namespace: The namespace for worker Pods.
        image: The image of worker Pods.
        num_workers: The number of workers to start.
        worker_cpu: CPU cores of one worker; it runs as many tasks at once as it has whole cores.
        worker_memory: Memory of one worker, in bytes or as text, e.g. `"4Gi"`.
        worker_gpu: GPUs of one worker.
        service_account: The service account of worker Pods.
        node_selector: Labels that a node must have to run a worker.
        tolerations: Taints of nodes that workers put up with, as in a Pod's manifest.
        allocation: The kind of workers: `"local"` processes of this machine, `"pod"`, `"statefulset"`.
        preset: The set of defaults to start from: `"development"`, `"production"`, `"high-performance"`.
        config_file: A TOML file with options.
        **options: Any further option; `docs/configuration.md` lists them all.

    Returns:
        The session. As a context manager it ends the workers when its block is left; otherwise
        `shutdown()` or the end of the process does.

    Raises:
        ConfigurationError: The options are wrong (every mistake is listed), the process already uses
            another runner, or it uses this one with other settings. Nothing was started.
        UnsupportedError: The allocation is not there yet.
        VersionMismatchError: The installed Daft is not supported.
    """
    from daft_k8s.config import load

    named = {
        "namespace": namespace,
        "image": image,
        "num_workers": num_workers,
        "worker_cpu": worker_cpu,
        "worker_memory": worker_memory,
        "worker_gpu": worker_gpu,
        "service_account": service_account,
        "node_selector": node_selector,
        "tolerations": tolerations,
        "allocation": allocation,
        "preset": preset,
        "config_file": config_file,
    }
    configuration = load({**named, **options})
    from daft_k8s.seam.install import activate

    return activate(configuration)


def shutdown() -> None:
    """Ends all workers of this process. Safe to call at any time, and more than once."""
    from daft_k8s.driver.session import find_current_session

    session = find_current_session()
    if session is not None:
        session.shutdown()


def offer_in_daft(daft: ModuleType) -> None:
    """Makes the runner reachable where Daft's own are: `daft.set_runner_k8s`."""
    daft.set_runner_k8s = set_runner_k8s  # type: ignore[attr-defined]
