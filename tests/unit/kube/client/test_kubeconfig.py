"""Kubeconfigs as people have them. That a cluster accepts what comes out: tests/integration/test_outside.py."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client import kubeconfig

CLUSTER = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}


def write(path: Path, user: dict[str, Any], namespace: str | None = "jobs") -> None:
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [CLUSTER],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "main", "context": context}, {"name": "other", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "main",
    }
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_the_context_names_the_namespace(path: Path) -> None:
    write(path, {"token": "t"})
    configuration, namespace, origin = asyncio.run(kubeconfig.load(None))
    assert (configuration.host, namespace) == ("http://127.0.0.1:1", "jobs")
    assert origin == f"the context 'main' of the kubeconfig {path}"
    assert asyncio.run(kubeconfig.load("other"))[1] is None


def test_no_kubeconfig_is_told_with_the_place_where_it_was_looked_for(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no kubeconfig at {path}.*set KUBECONFIG"):
        asyncio.run(kubeconfig.load(None))


@pytest.mark.parametrize("context", ["nowhere", None])
def test_a_context_that_is_not_there_is_told(path: Path, context: str | None) -> None:
    write(path, {"token": "t"})
    if context is None:
        path.write_text("just text")
    with pytest.raises(ConfigurationError, match="cannot be used with its") as caught:
        asyncio.run(kubeconfig.load(context))
    assert "kube_context" in str(caught.value)


def test_credentials_are_read_again_as_they_grow_old(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, count = tmp_path / "plugin.py", tmp_path / "count"
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    plugin.write_text(
        f"""
import json, pathlib
count = pathlib.Path({str(count)!r})
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {{"token": f"token-{{number}}", "expirationTimestamp": "2020-01-01T00:00:00Z"}}
print(json.dumps({{**{json.dumps(answer)}, "status": status}}))
"""
    )
    write(path, {"exec": {"apiVersion": answer["apiVersion"], "command": sys.executable, "args": [str(plugin)]}})
    now = 1000.0
    monkeypatch.setattr(kubeconfig.time, "monotonic", lambda: now)

    async def tokens() -> list[str]:
        nonlocal now
        configuration, *_ = await kubeconfig.load(None)
        found = []
        for seconds in (1, 100, 1):
            now += seconds
            found.append(await configuration.get_api_key_with_prefix("BearerToken"))
        return found

    assert asyncio.run(tokens()) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


def test_a_token_file_is_read_again_as_it_grows_old(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    write(path, {"tokenFile": str(token)})
    now = 1000.0
    monkeypatch.setattr(kubeconfig.time, "monotonic", lambda: now)

    async def rotate() -> tuple[str | None, str | None]:
        nonlocal now
        configuration, *_ = await kubeconfig.load(None)
        authorize = kubeconfig.cluster(configuration).authorize
        before = await authorize()
        token.write_text("new")
        now += 100
        return before, await authorize()

    assert asyncio.run(rotate()) == ("Bearer old", "Bearer new")


def test_what_a_kubeconfig_says_of_the_way_to_the_server_holds_for_each_request(path: Path) -> None:
    write(path, {})
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"] |= {
        "tls-server-name": "api.internal",
        "insecure-skip-tls-verify": True,
        "proxy-url": "http://proxy:3128",
    }
    path.write_text(yaml.safe_dump(content))
    cluster = kubeconfig.cluster(asyncio.run(kubeconfig.load(None))[0])
    assert cluster.host == "http://127.0.0.1:1"
    assert cluster.options == {"server_hostname": "api.internal", "proxy": "http://proxy:3128"}
    assert cluster.trust is not None
    assert (cluster.trust.check_hostname, cluster.trust.verify_mode) == (False, ssl.CERT_NONE)
    assert asyncio.run(cluster.authorize()) is None
