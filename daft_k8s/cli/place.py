"""The place that a command looks at: a cluster and a namespace, and what the shell can complete of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from daft_k8s.config import load
from daft_k8s.errors import DaftK8sError
from daft_k8s.kube.client.console import Console

Decorated = Callable[..., Any]

_COMPLETION_SECONDS = 3.0
"""The longest wait of a shell for names; a cluster that answers later completes nothing."""


def open_place(
    namespace: str | None = None, context: str | None = None, config_file: str | None = None, **_others: object
) -> Console:
    """The cluster and the namespace that a command line names, else those of the configuration, as for `run`.

    Raises:
        daft_k8s.errors.ConfigurationError: The configuration is wrong.
    """
    configuration = load({"namespace": namespace, "kube_context": context, "config_file": config_file})
    return Console(context=configuration.kube_context, namespace=configuration.namespace)


def place_options(command: Decorated) -> Decorated:
    """`--namespace`, `--context` and `--config` of commands that look at a cluster."""
    for option in (
        click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with options."),
        click.option("--context", help="The context of the kubeconfig; else the option kube_context."),
        click.option(
            "-n", "--namespace", shell_complete=namespaces, help="The namespace; else that of the configuration."
        ),
    ):
        command = option(command)
    return command


def namespaces(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The namespaces of the cluster that begin so."""

    async def find(console: Console) -> list[CompletionItem]:
        found = await console.items("/api/v1/namespaces")
        return [CompletionItem(str(item["metadata"]["name"])) for item in found]

    return _complete(context, find, incomplete)


def sessions_and_runs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sessions and runs of the namespace that begin so."""

    async def find(console: Console) -> list[CompletionItem]:
        from daft_k8s.kube.inventory.runs import find_runs
        from daft_k8s.kube.inventory.sessions import find_sessions

        sessions = [
            CompletionItem(view.session, help=f"session, {view.life.value}") for view in await find_sessions(console)
        ]
        try:
            return [
                *sessions,
                *(CompletionItem(view.run, help=f"run, {view.state.value}") for view in await find_runs(console)),
            ]
        except DaftK8sError:
            return sessions  # some may list Pods and no Jobs

    return _complete(context, find, incomplete)


def _complete(
    context: click.Context, find: Callable[[Console], Awaitable[list[CompletionItem]]], incomplete: str
) -> list[CompletionItem]:
    async def main() -> list[CompletionItem]:
        async with open_place(**context.params) as console:
            return await asyncio.wait_for(find(console), _COMPLETION_SECONDS)

    try:
        found = asyncio.run(main())
    except Exception:
        return []  # an error would stand in the middle of the line that is being typed
    return [item for item in found if item.value.startswith(incomplete)]
