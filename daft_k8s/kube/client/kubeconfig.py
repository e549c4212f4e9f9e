"""The cluster and the credentials of a kubeconfig."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes_asyncio import client, config

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.link import Cluster

_DEFAULT_PATH = "~/.kube/config"
_REFRESH_SECONDS = 60.0
"""The age after which the kubeconfig is asked again for credentials: plugins and files know when theirs end."""


async def load(context: str | None) -> tuple[client.Configuration, str | None, str]:
    """The kubeconfig's cluster with credentials that are kept fresh, its context's namespace, and where all is from.

    The files are those of KUBECONFIG, else `~/.kube/config`, as for kubectl.

    Args:
        context: The name of a context; None: the current one.

    Raises:
        ConfigurationError: There is no kubeconfig, or it is wrong.
        ApiError: Its plugin or its provider gives no credentials.
    """
    paths = os.environ.get("KUBECONFIG") or _DEFAULT_PATH
    if not any(os.path.exists(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path):
        raise ConfigurationError(
            f"this process runs outside the cluster, and there is no kubeconfig at {paths}; set KUBECONFIG, or run the "
            "driver in a Pod"
        )
    configuration = client.Configuration()
    begin: Any = config.load_kube_config
    try:
        loader = await begin(config_file=paths, context=context, client_configuration=configuration)
    except (aiohttp.ClientError, OSError) as error:
        raise ApiError("get credentials", 0, f"{type(error).__name__}: {error}") from error
    except Exception as error:  # its parser raises whatever a file that is no kubeconfig leads to
        which = f"context {context!r}" if context else "current context"
        raise ConfigurationError(
            f"the kubeconfig {paths} cannot be used with its {which}: {error}; kubectl config get-contexts shows what "
            "there is, and kube_context chooses one"
        ) from error
    configuration.refresh_api_key_hook = _refresher(loader)
    chosen = loader.current_context or {}
    origin = f"the context {chosen.get('name')!r} of the kubeconfig {paths}"
    return configuration, chosen.get("context", {}).get("namespace") or None, origin


def cluster(configuration: client.Configuration, origin: str = "") -> Cluster:
    """The same for this project's own requests.

    Args:
        configuration: The kubeconfig's content.
        origin: The name of the kubeconfig, for people.

    Raises:
        ConfigurationError: A certificate or key in the kubeconfig cannot be read.
    """
    try:
        trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            trust.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the certificates of {origin or 'the kubeconfig'} cannot be read: {error}; correct certificate-authority, "
            "client-certificate and client-key there, or fetch it anew"
        ) from error
    if not configuration.verify_ssl:
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    options = {
        "proxy": configuration.proxy,
        "proxy_headers": configuration.proxy_headers,
        "server_hostname": configuration.tls_server_name,
    }

    async def authorize() -> str | None:
        try:
            token: dict[str, str | None] = (await configuration.auth_settings()).get("BearerToken") or {}
        except config.ConfigException as error:
            raise ApiError("get credentials", 0, str(error)) from error
        return token.get("value")

    given = {name: value for name, value in options.items() if value}
    return Cluster(str(configuration.host), trust, authorize, given, origin)


def _refresher(loader: Any) -> Callable[[client.Configuration], Awaitable[None]]:
    """The hook that the client calls before each request: tokens end while a session lives."""
    known_until = time.monotonic() + _REFRESH_SECONDS

    async def refresh(configuration: client.Configuration) -> None:
        nonlocal known_until
        if time.monotonic() < known_until:
            return
        known_until = time.monotonic() + _REFRESH_SECONDS  # at once: requests run side by side
        await loader.load_and_set(configuration)

    return refresh
