"""Options of commands that start a driver: its size, its account, and the environment that it shares with workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from daft_k8s.cli.options import PairType, load_configuration
from daft_k8s.config import FIELDS, Configuration
from daft_k8s.config.frozen import thaw
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects.names import CONTAINER
from daft_k8s.kube.objects.rights import ACCOUNT

Decorated = Callable[..., Any]

_SOURCES = {"secret": "secretRef", "configmap": "configMapRef"}


class Variable(PairType):
    """`NAME=value`."""

    name = "NAME=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form NAME=value", param, ctx)
        return name, text


class VariableSource(PairType):
    """`secret/NAME` or `configmap/NAME`."""

    name = "secret/NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        kind, slash, name = str(value).partition("/")
        if kind not in _SOURCES or not slash or not name:
            self.fail(f"{value!r} is not of the form secret/NAME or configmap/NAME", param, ctx)
        return kind, name


@dataclass(frozen=True)
class DriverOptions:
    """The driver as a command line describes it."""

    context: str | None
    service_account: str
    driver_cpu: str
    driver_memory: str
    driver_template: str | None
    variables: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]

    @classmethod
    def take(cls, options: dict[str, Any]) -> DriverOptions:
        """Takes them out of the options of a command."""
        return cls(**{name: options.pop(name) for name in cls.__dataclass_fields__})

    def load(self, given: Mapping[str, object], *, local: bool = False) -> Configuration:
        """The configuration with the environment that the command line gives to driver and workers.

        Raises:
            daft_k8s.errors.ConfigurationError: Something is wrong; all mistakes are listed.
        """
        given = {**given, **({} if self.context is None else {"kube_context": self.context})}
        if local:
            given = {**given, "allocation": "local"}
            if self.sources:
                raise ConfigurationError("--env-from names objects of a cluster, which --local does not ask")
        kind = None if local else "pod"
        configuration = load_configuration(given, kind)
        changes: dict[str, object] = {}
        if self.variables:
            changes["env"] = {**configuration.env, **dict(self.variables)}
        if self.sources:
            changes["pod_template"] = self._with_sources(thaw(configuration.pod_template or {}))
        return load_configuration({**given, **changes}, kind) if changes else configuration

    def template(self) -> Mapping[str, Any] | None:
        """The driver's own Pod template; None: none is given.

        Raises:
            ConfigurationError: The file cannot be read, or holds no template.
        """
        if self.driver_template is None:
            return None
        kind = FIELDS["pod_template"].option.kind
        try:
            read = thaw(kind.read(self.driver_template, Path.cwd()))
        except ValueError as error:
            raise ConfigurationError(f"--driver-template {self.driver_template}: {error}") from None
        return read if isinstance(read, dict) else None

    def _with_sources(self, template: Any) -> dict[str, Any]:
        spec = dict(template.get("spec") or {})
        containers = [dict(item) for item in spec.get("containers") or ()]
        own = next((item for item in containers if item.get("name") == CONTAINER), None)
        if own is None:
            own = {"name": CONTAINER}
            containers.append(own)
        sources = [{_SOURCES[kind]: {"name": name}} for kind, name in self.sources]
        own["envFrom"] = [*(own.get("envFrom") or ()), *sources]
        return {**template, "spec": {**spec, "containers": containers}}


def driver_options(command: Decorated) -> Decorated:
    """The options of `DriverOptions`."""
    for option in (
        click.option(
            "--env-from",
            "sources",
            type=VariableSource(),
            multiple=True,
            help="A Secret or ConfigMap whose keys driver and workers get as variables: secret/NAME, configmap/NAME.",
        ),
        click.option(
            "--env",
            "variables",
            type=Variable(),
            multiple=True,
            help="A variable of driver and workers, beside those of the option env. May be repeated.",
        ),
        click.option(
            "--driver-template",
            help="A Pod template for the driver, as JSON text or a file; its container is `driver`.",
        ),
        click.option("--driver-memory", default="2Gi", show_default=True, help="Memory of the driver."),
        click.option("--driver-cpu", default="1", show_default=True, help="CPU cores of the driver."),
        click.option(
            "--service-account", default=ACCOUNT, show_default=True, help="Of the driver; `daft-k8s rbac` makes it."
        ),
        click.option("--context", help="The context of the kubeconfig; else the option kube_context."),
    ):
        command = option(command)
    return command
