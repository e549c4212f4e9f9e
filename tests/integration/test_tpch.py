"""TPC-H on worker Pods, driven from inside and from outside; every answer is compared with DuckDB's.

The Pods read the tables from their nodes' file system, so this needs a cluster whose nodes are this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tpch.answers import Reference, ordering_of
from benchmarks.tpch.data import MANIFEST, generate
from daft_k8s.kube.objects.rights import role_rules
from tests.integration.cluster import Namespace, wait_until
from tests.integration.outside import ROOT, OutsideDriver, write_kubeconfig

SCRIPT = """
sys.path.insert(0, {root!r})
from pathlib import Path
import pyarrow.parquet as pq
from benchmarks.tpch.compare import Ordering, difference
from benchmarks.tpch.dataframe_queries import QUERIES, Tables

data = {data!r}
volume = {{"name": "data", "hostPath": {{"path": data, "type": "Directory"}}}}
mount = {{"name": "data", "mountPath": data, "readOnly": True}}
session = use(num_workers=3, worker_cpu={cpu}, worker_memory="2Gi", pod_template={{"spec": {{
    "volumes": [volume], "containers": [{{"name": "worker", "volumeMounts": [mount]}}]}}}})
session.wait_for_worker()
for number, file, keys, limit in {questions!r}:
    begin = time.monotonic()
    answer = QUERIES[number](Tables(Path(data), scale_factor={scale_factor})).to_arrow()
    seconds = time.monotonic() - begin
    wrong = difference(answer, pq.read_table(file), Ordering(keys=keys, limit=limit))
    say(**{{f"q{{number}}": [wrong, seconds]}})
say(launches=[worker.launch for worker in session.snapshot().workers])
"""


@pytest.fixture(scope="module")
def namespace_with_disks(image: str) -> Iterator[Namespace]:
    """A namespace whose Pods may read their nodes' disks."""
    namespace = Namespace.fresh(image)
    namespace.create(level="privileged")
    namespace.set_rules(role_rules(outside=True))
    yield namespace
    namespace.remove()


def script(namespace: Namespace, numbers: range, scale_factor: float) -> tuple[str, Path]:
    """Makes tables and answers, and the script that compares them; skips where Pods do not see them."""
    data = generate(scale_factor).resolve()
    reference = Reference(data, scale_factor=scale_factor)
    questions = []
    for number in numbers:
        reference.answer(number)
        [file] = (data / "answers").glob(f"q{number:02d}-*.parquet")
        ordering = ordering_of(number)
        questions.append((number, str(file), ordering.keys, ordering.limit))
    if not sees(namespace, data):
        pytest.skip("the cluster's nodes do not see this machine's files")
    cpu = 1 if scale_factor >= 1 else 0.5  # little data: other tests run beside it
    source = SCRIPT.format(root=str(ROOT), data=str(data), questions=questions, scale_factor=scale_factor, cpu=cpu)
    return source, data


def sees(namespace: Namespace, data: Path) -> bool:
    probe = namespace.start(f"say(there=os.path.exists({str(data / MANIFEST)!r}))", disks=(data,))
    return bool(probe.finish()["there"])


def check(facts: dict[str, Any], numbers: range, where: str) -> None:
    wrong = {name: facts.get(name, ["no answer"])[0] for name in (f"q{number}" for number in numbers)}
    assert {name: words for name, words in wrong.items() if words is not None} == {}
    seconds = {name: round(facts[name][1], 1) for name in wrong}
    print(f"{where}: {sum(seconds.values()):.0f} s in all: {seconds}")


def run_inside(namespace: Namespace, numbers: range, scale_factor: float) -> None:
    source, data = script(namespace, numbers, scale_factor)
    driver = namespace.start(source, disks=(ROOT / "benchmarks", data), memory="3Gi")
    check(driver.finish(40 * len(numbers) + 60), numbers, "inside")
    wait_until(lambda: not namespace.workers(), 30, "the workers' Pods are gone")


def run_outside(namespace: Namespace, numbers: range, scale_factor: float, folder: Path) -> None:
    source, _ = script(namespace, numbers, scale_factor)
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, namespace)
    driver = OutsideDriver(source, image=namespace.image, kubeconfig=kubeconfig)
    try:
        check(driver.finish(40 * len(numbers) + 60), numbers, "outside")
    finally:
        driver.end()


def test_the_first_query_is_right_inside(namespace_with_disks: Namespace) -> None:
    run_inside(namespace_with_disks, range(1, 2), 0.1)


def test_the_first_query_is_right_outside(namespace_with_disks: Namespace, tmp_path: Path) -> None:
    run_outside(namespace_with_disks, range(1, 2), 0.1, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_all_queries_are_right_inside(namespace_with_disks: Namespace) -> None:
    run_inside(namespace_with_disks, range(1, 23), 1)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_all_queries_are_right_outside(namespace_with_disks: Namespace, tmp_path: Path) -> None:
    run_outside(namespace_with_disks, range(1, 23), 1, tmp_path)
