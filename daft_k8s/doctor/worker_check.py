"""The dry run that asks the API server to admit a worker's Pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.doctor.findings import Finding, failed, ok, skipped
from daft_k8s.errors import ClusterError, ConfigurationError
from daft_k8s.kube.client.console import Console, NotFoundError
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.target import Target

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

CHECK = "worker Pod"


async def check_worker_pod(console: Console, configuration: Configuration) -> Finding:
    """Checks that everything that a worker's Pod names exists, and that the cluster's policies admit the Pod.

    Args:
        console: The cluster.
        configuration: The configuration of the workers.
    """
    if configuration.image is None:
        return skipped(CHECK, "no image is set (--image)")
    missing = await _missing_secrets(console, configuration.image_pull_secrets)
    if missing:
        fix = (
            f"kubectl -n {console.namespace} create secret docker-registry {missing[0]}, or correct image_pull_secrets"
        )
        return failed(CHECK, f"there is no Secret {', '.join(missing)} to pull the image with", fix)
    target = Target(console.namespace, configuration.image, tuple(configuration.image_pull_secrets))
    try:
        pod = worker_pod(configuration, target, session_id="doctor", worker_id="worker-0", launch_id=1)
        await console.create("/api/v1/{ns}/pods", pod, dry_run=True)
    except ConfigurationError as error:
        return failed(CHECK, str(error), "change pod_template")
    except ClusterError as error:
        return _refused(str(error))
    return ok(CHECK, "the cluster would take it")


def _refused(words: str) -> Finding:
    if "exceeded quota" in words:
        return skipped(CHECK, "the quota has no room for it")
    fix = "change what the cluster does not admit, as above, with the options of Pods (docs/configuration.md)"
    if "PriorityClass" in words:
        fix = "correct priority_class: kubectl get priorityclasses"
    elif "service account" in words or "serviceaccount" in words:
        fix = "correct service_account, or make it: kubectl create serviceaccount"
    elif "PodSecurity" in words:
        fix = "take out of pod_template what the namespace's Pod Security level forbids, or use another namespace"
    return failed(CHECK, words, fix)


async def _missing_secrets(console: Console, wanted: tuple[str, ...] | list[str]) -> list[str]:
    missing = []
    for name in wanted:
        try:
            await console.get(f"/api/v1/{{ns}}/secrets/{name}")
        except NotFoundError:
            missing.append(name)
        except ClusterError:
            continue  # many may not read Secrets; the kubelet tells in the Pod's events
    return missing
