"""A namespace of a real cluster, in which drivers run as Pods.

Any cluster will do: KUBECONFIG names it, INTEGRATION_IMAGE an image of images/Dockerfile that its nodes can run.
Without KUBECONFIG, one of kind is made for the run where Docker is there and has the image.
Everything happens in a namespace of its own, which is removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.rights import role_rules
from tests.integration import kind
from tests.integration.cluster import Namespace, kubectl
from tests.integration.faults import Nodes
from tests.integration.outside import OutsideDriver, Relay, write_kubeconfig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The image of drivers and workers, where there is a cluster that runs it."""
    image = os.environ.get("INTEGRATION_IMAGE")
    if not image:
        pytest.skip("INTEGRATION_IMAGE is not set: the image of daft_k8s that the cluster's nodes have or can pull")
    if shutil.which("kubectl") is None:
        pytest.skip("no Kubernetes cluster can be reached: kubectl is not installed")
    with contextlib.ExitStack() as stack:
        if not os.environ.get("KUBECONFIG"):
            problem = kind.why_not()
            if problem:
                pytest.skip(f"no Kubernetes cluster: KUBECONFIG is not set, and none can be made with kind: {problem}")
            parts = tmp_path_factory.getbasetemp()
            # What pytest-xdist runs side by side shares one cluster.
            shared = parts.parent if hasattr(request.config, "workerinput") else parts
            os.environ["KUBECONFIG"] = str(stack.enter_context(kind.cluster(shared, image)))
        try:
            kubectl("get", "--raw", "/readyz", timeout_seconds=20)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"the cluster of KUBECONFIG does not answer: {error}")
        yield image


@pytest.fixture(scope="session")
def namespace(image: str) -> Iterator[Namespace]:
    """A namespace that enforces the Pod Security level `restricted`, with the rights that the documents ask for."""
    namespace = Namespace(f"daft-test-{uuid.uuid4().hex[:6]}", image)
    namespace.create()
    yield namespace
    namespace.remove()


@pytest.fixture(scope="session")
def stateful_namespace(image: str) -> Iterator[Namespace]:
    """As `namespace`, with the rights that `allocation="statefulset"` asks for."""
    namespace = Namespace(f"daft-test-{uuid.uuid4().hex[:6]}", image)
    namespace.create()
    namespace.set_rules(role_rules(Configuration(allocation="statefulset")))
    yield namespace
    namespace.remove()


@pytest.fixture
def empty_namespace(image: str) -> Iterator[Namespace]:
    """As `namespace`, for the one test that changes its rules."""
    namespace = Namespace(f"daft-test-{uuid.uuid4().hex[:6]}", image)
    namespace.create()
    yield namespace
    namespace.remove()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Breaks nodes; they are mended afterwards."""
    nodes = Nodes()
    yield nodes
    nodes.mend()


@pytest.fixture
def relay(image: str) -> Iterator[Relay]:
    """Stands between drivers outside and the API server."""
    relay = Relay()
    yield relay
    relay.close()


@pytest.fixture
def start_outside(empty_namespace: Namespace, relay: Relay, tmp_path: Path) -> Iterator[Callable[[str], OutsideDriver]]:
    """Starts drivers outside the cluster, with the rights of the documents and no more, through the relay."""
    empty_namespace.set_rules(role_rules(outside=True))
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, empty_namespace, relay)
    drivers: list[OutsideDriver] = []

    def begin(script: str) -> OutsideDriver:
        drivers.append(OutsideDriver(script, image=empty_namespace.image, kubeconfig=kubeconfig))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.end()
