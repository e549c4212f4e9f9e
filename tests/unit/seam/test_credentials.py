"""Warnings about credentials that only the driver has. Not covered: what Daft does without them, on a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.seam.credentials import CredentialAdvice
from daft_k8s.seam.plan_paths import PlannedPath

AWS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-value", "AWS_REGION": "eu-1"}


def warnings(
    caplog: pytest.LogCaptureFixture,
    *urls: str,
    environment: dict[str, str] | None = None,
    plan: str = "",
    **options: Any,
) -> list[str]:
    configuration = load({"allocation": "pod", **options}, {})
    caplog.clear()
    found = CredentialAdvice(configuration, AWS if environment is None else environment)
    for _ in range(2):
        found.look_at(plan, [PlannedPath((url,), writing=False) for url in urls])
    return [record.getMessage() for record in caplog.records]


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


def test_variables_that_only_the_driver_has_are_named_once_with_the_four_ways(
    caplog: pytest.LogCaptureFixture,
) -> None:
    [text] = warnings(caplog, "s3://bucket/x.parquet", "s3://bucket/y.parquet")
    for words in ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.", "IOConfig", "envFrom", "service_account", "pass_env"):
        assert words in text, text
    assert "secret-value" not in text
    assert "AWS_REGION" not in text, "a cloud injects it into Pods"


def test_variables_that_are_passed_on_are_not_missing_but_files_that_they_name_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert warnings(caplog, "s3://bucket/x", pass_env="AWS_*") == []
    file = {"GOOGLE_APPLICATION_CREDENTIALS": "/home/ann/key.json"}
    assert len(warnings(caplog, "gs://bucket/x", environment=file, pass_env="GOOGLE_*")) == 1


@pytest.mark.parametrize(
    ("url", "variable"),
    [("gs://bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"), ("abfss://c@a/x", "AZURE_STORAGE_KEY")],
)
def test_each_store_has_its_own_variables(caplog: pytest.LogCaptureFixture, url: str, variable: str) -> None:
    assert warnings(caplog, url, environment=AWS) == []
    [text] = warnings(caplog, url, environment={variable: "x"})
    assert variable in text


@pytest.mark.parametrize(
    "options",
    [
        {"env": {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}},
        {"pod_template": container(envFrom=[{"secretRef": {"name": "aws"}}])},
        {"pod_template": container(env=[{"name": name, "value": "x"} for name in AWS])},
        {"service_account": "reader"},
    ],
)
def test_workers_that_are_given_credentials_are_left_alone(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    assert warnings(caplog, "s3://bucket/x", **options) == []


def test_nothing_is_said_of_paths_elsewhere_and_of_plans_with_credentials(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, "https://example.com/x", "/data/x") == []
    assert warnings(caplog, "s3://bucket/x", environment={}) == []
    assert warnings(caplog, "s3://bucket/x", plan="|  S3 config = { Key ID = k, Access key = ** redacted ** }") == []
