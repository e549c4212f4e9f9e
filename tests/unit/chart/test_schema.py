"""Wrong values are refused before anything is installed, each with a message that names the key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.chart.charts import ChartError, Helm


def nested(path: str, value: object) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("workers.count", 0),
        ("workers.count", "four"),
        ("workers.counts", 4),
        ("workers.memory", "4 GB"),
        ("workers.memory", 4),
        ("workers.cpu", "two"),
        ("workers.allocationMode", "local"),
        ("workers.allocationMode", None),
        ("workers.preset", "prod"),
        ("workers.storeMemoryShare", 1.5),
        ("workers.startTimeoutSeconds", "2m"),
        ("workers.env", {"DAFT_K8S_IMAGE": "other"}),
        ("workers.env", {"TRIES": 3}),
        ("workers.labels", {"daft.io/role": "worker"}),
        ("workers.tolerations", [{"key": "spot", "effect": "Never"}]),
        ("workers.podTemplate", {"spec": {}, "status": {}}),
        ("workers.namespace", "Team_A"),
        ("workers.spillDir", "spill"),
        ("driver.kind", "Deployment"),
        ("driver.backoffLimit", -1),
        ("driver.resources.limits.memory", "2 gigabytes"),
        ("driver.podSpec", {"containers": []}),
        ("driver.env", [{"value": "nameless"}]),
        ("driver.podLabels", {"app.kubernetes.io/component": "worker"}),
        ("cronJob.schedule", "every day"),
        ("cronJob.concurrencyPolicy", "Never"),
        ("image.pullPolicy", "Sometimes"),
        ("image.digest", "latest"),
        ("image.tag", "a tag"),
        ("script.path", "relative.py"),
        ("script.files", {"a/b.py": "pass"}),
        ("serviceAccount.create", "yes"),
        ("networkPolicy.enabeld", True),
        ("networkPolicy.egress.apiServer.cidrs", ["10.0.0.1"]),
        ("podDisruptionBudget.minAvailable", "50%"),
        ("replicas", 3),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else None,
)
def test_a_wrong_value_is_refused_with_its_key(helm: Helm, path: str, value: object) -> None:
    with pytest.raises(ChartError) as error:
        helm.render(nested(path, value))
    words = str(error.value)
    assert "values don't meet the specifications of the schema" in words
    assert path.rpartition(".")[2] in words, words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": {"repository": ""}}, "image.repository is not set"),
        ({"script": {"content": ""}}, "set one of script.content"),
        ({"script": {"path": "/app/job.py"}}, "script.content and script.path are set"),
        ({"script": {"content": "", "path": "/a.py", "files": {"b.py": ""}}}, "script.files is only used with"),
        ({"script": {"files": {"script.py": ""}}}, "script.files: script.py is the name"),
        ({"driver": {"kind": "CronJob"}}, "cronJob.schedule is not set"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is not set"),
        ({"networkPolicy": {"egress": {"restricted": True}}}, "networkPolicy.egress.apiServer.cidrs is not set"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_set(
    helm: Helm, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ChartError) as error:
        helm.render(values)
    assert words in str(error.value)
