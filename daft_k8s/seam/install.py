"""Puts our modules in the place of Daft's Ray modules, and makes the runner."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from daft_k8s.boot import inheritance
from daft_k8s.config.describe import difference, ignored_message, oversized_message
from daft_k8s.errors import ConfigurationError
from daft_k8s.seam import checks, newer

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.driver.session import Session
    from daft_k8s.seam.runner import K8sRunner

logger = logging.getLogger("daft_k8s")

_lock = threading.RLock()
_installed = False
_next_session: Session | None = None
_configuration_source: Callable[[], Configuration] | None = None


def install() -> None:
    """Replaces the modules. Idempotent; touches nothing if the installed Daft does not fit.

    Raises:
        VersionMismatchError: If this Daft is not supported.
    """
    global _installed
    with _lock:
        if _installed:
            return
        import daft

        checks.check_version(daft.__version__)  # before what imports names that another version may lack
        checks.check_hooks(daft.__version__)
        from daft_k8s.seam import llm, path_entries, progress, sort_merge, staged_writes, unlimited
        from daft_k8s.wire.arrow_partitions import guard_pickling

        replacements, handles = _replacements(), _handles()
        differences = checks.check_replacements(daft.__version__, replacements, handles)
        if differences:
            logger.warning("%s", newer.describe(differences, daft.__version__))
        replacements = newer.adapt(replacements, handles, differences, daft.__version__)
        for name, attributes in replacements.items():
            _replace_module(name, attributes)
        vllm = importlib.import_module("daft.execution.vllm")
        vllm.LLMActors = llm.LLMActors  # type: ignore[attr-defined]
        ai_utils = importlib.import_module("daft.ai.utils")
        ai_utils.get_gpu_udf_options = get_gpu_udf_options  # type: ignore[attr-defined]
        progress.install()
        guard_pickling()
        unlimited.install()
        sort_merge.install()
        staged_writes.install()  # before the paths: it remembers them as those have made them
        path_entries.install(_known_configuration)
        _installed = True


def describe_unknown_hooks() -> str | None:
    """One line on hooks of the installed Daft that daft_k8s does not know; None if there are none. Replaces nothing.

    Raises:
        VersionMismatchError: If no query could run.
    """
    import daft

    differences = checks.check_replacements(daft.__version__, _replacements(), _handles())
    return newer.describe(differences, daft.__version__) if differences else None


def _replacements() -> dict[str, dict[str, Any]]:
    from daft_k8s.seam import hooks, key_filter, partitions, udf_actors, unsupported

    return {
        "daft.runners.flotilla": {
            "start_ray_workers": hooks.start_ray_workers,
            "try_autoscale": hooks.try_autoscale,
            "clear_autoscaling_requests": hooks.clear_autoscaling_requests,
            "get_head_node_id": hooks.get_head_node_id,
            "clear_flight_shuffle_dirs_on_all_nodes": hooks.clear_flight_shuffle_dirs_on_all_nodes,
            "get_boundaries": hooks.get_boundaries,
        },
        "daft.runners.ray_runner": {
            "RayRunner": make_runner,
            "RayPartitionSet": partitions.K8sPartitionSet,
            "RayMaterializedResult": partitions.K8sMaterializedResult,
            "RayRunnerIO": partitions.K8sRunnerIO,
        },
        "daft.execution.ray_distributed_limit": {"start_limit_counter_actor": hooks.start_limit_counter_actor},
        "daft.execution.ray_actor_pool_udf": {
            "start_udf_actors": udf_actors.start_udf_actors,
            "start_udf_actor_pool": udf_actors.start_udf_actor_pool,
        },
        "daft.execution.key_filtering_join.bridge": {
            "create_key_filter": key_filter.create_key_filter,
            "teardown_key_filter": key_filter.teardown_key_filter,
        },
        "daft.subscribers.event_log_sink": {
            "create_or_get_sink": unsupported.create_or_get_sink,
            "get_sink": unsupported.get_sink,
            "teardown_sink": unsupported.teardown_sink,
        },
    }


def _handles() -> dict[str, dict[str, Any]]:
    """Our classes whose instances Daft's scheduler holds, by Daft's names for its own."""
    from daft_k8s.seam import actors, hooks, limit, partitions, runner, task_handle, udf_actors

    return {
        "daft.runners.flotilla": {
            "RaySwordfishActorHandle": hooks.WorkerHandle,
            "RaySwordfishTaskHandle": task_handle.SubmittedTaskHandle,
        },
        "daft.runners.ray_runner": {
            "RayRunner": runner.K8sRunner,
            "RayPartitionSet": partitions.K8sPartitionSet,
            "RayMaterializedResult": partitions.K8sMaterializedResult,
            "RayRunnerIO": partitions.K8sRunnerIO,
        },
        "daft.execution.ray_distributed_limit": {"LimitCounterHandle": limit.DriverLimitHandle},
        "daft.execution.ray_actor_pool_udf": {
            "UDFActorHandle": actors.DriverActorHandle,
            "UDFActorPool": udf_actors.UdfActorPool,
        },
    }


def _replace_module(name: str, attributes: dict[str, Any]) -> None:
    module = types.ModuleType(name, "Replaced by daft_k8s.")
    vars(module).update(attributes)
    parent_name, _, child = name.rpartition(".")
    sys.modules[name] = module
    setattr(importlib.import_module(parent_name), child, module)


def make_runner(
    address: str | None = None, force_client_mode: bool = False, worker_startup_timeout: int | None = None
) -> K8sRunner:
    """Answers Daft's request for a runner named "ray". Ray's arguments are not used.

    Raises:
        ConfigurationError: If Daft was told to use Ray although daft_k8s has taken its place.
    """
    from daft_k8s.seam.runner import K8sRunner

    session = _next_session
    if session is None:
        if _configuration_source is None:
            raise ConfigurationError(
                "daft_k8s has taken the place of Daft's Ray runner in this process; "
                "call set_runner_k8s() instead of set_runner_ray()"
            )
        session = open_session(_configuration_source())
    return K8sRunner(session)


def use_configuration_source(source: Callable[[], Configuration]) -> None:
    """Lets Daft's first query make a session by itself, with the configuration that `source` returns."""
    global _configuration_source
    _configuration_source = source


def open_session(configuration: Configuration, **session_arguments: Any) -> Session:
    """Starts a session with everything attached that the hooks need, and makes it the current one."""
    import daft
    from daft.event_loop import get_or_init_event_loop

    from daft_k8s.allocation import DriverSnapshot
    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.driver.session import Session, set_current_session
    from daft_k8s.seam.code_shipment import prepare_code
    from daft_k8s.seam.credentials import CredentialAdvice
    from daft_k8s.seam.flight_losses import FlightLosses
    from daft_k8s.seam.flight_shuffle import FlightFolders
    from daft_k8s.seam.limit import LimitCounters
    from daft_k8s.seam.llm import EnginePools
    from daft_k8s.seam.parts import Parts
    from daft_k8s.seam.path_entries import warn_of_unknown
    from daft_k8s.seam.query_folders import QueryFolders
    from daft_k8s.seam.repetition import QueryRuns
    from daft_k8s.seam.search_path_news import SearchPathNews
    from daft_k8s.seam.staged_writes import Stages
    from daft_k8s.wire.calls import (
        ChooseEngine,
        ClaimRows,
        FetchCodeChunk,
        FetchCodeManifest,
        StartLimit,
        TaskRestarts,
    )

    shipment = prepare_code(configuration)
    environment = DriverSnapshot.take()
    session = Session(
        configuration,
        loop=get_or_init_event_loop().loop,
        daft_version=daft.__version__,
        environment=environment,
        **session_arguments,
    )
    is_local = configuration.allocation == "local"
    pools = ActorPools(session)
    session.attachment = parts = Parts(
        limit_counters=LimitCounters(),
        query_runs=QueryRuns(),
        stages=Stages(),
        code=shipment,
        query_folders=QueryFolders(enabled=is_local),
        search_path=SearchPathNews(environment.search_path if is_local else None),
        actor_pools=pools,
        engine_pools=EnginePools(pools),
        credentials=CredentialAdvice(configuration),
        flight_folders=FlightFolders(session.session_id),
        flight_losses=FlightLosses(),
    )
    session.calls.add(StartLimit, parts.limit_counters.start)
    session.calls.add(ClaimRows, parts.limit_counters.claim)
    session.calls.add(TaskRestarts, parts.limit_counters.restart)
    session.calls.add(FetchCodeManifest, shipment.manifest)
    session.calls.add(FetchCodeChunk, shipment.chunk)
    session.calls.add(ChooseEngine, parts.engine_pools.choose)
    session.add_closer(parts.stages.remove_left)
    session.add_closer(parts.limit_counters.close)
    session.add_closer(parts.flight_folders.remove)
    session.add_worker_listener(parts.flight_losses)
    session.start()
    if not is_local:
        warn_of_unknown()
    set_current_session(session)
    return session


def activate(configuration: Configuration, **session_arguments: Any) -> Session:
    """Makes this process use the runner, with a new session or the open one of the same configuration.

    Raises:
        ConfigurationError: If the process already uses another runner or other settings.
        VersionMismatchError: If this Daft is not supported.
    """
    global _next_session
    with _lock:
        install()
        for warning in (ignored_message(configuration), oversized_message(configuration)):
            if warning is not None:
                logger.warning("%s", warning)
        runner = _runner_in_use()
        if runner is not None:
            open_one = runner.session
            if not open_one.closed:
                if open_one.configuration == configuration:
                    return open_one
                raise ConfigurationError(
                    "set_runner_k8s was called before with other settings: "
                    f"{difference(open_one.configuration, configuration)}. To begin a new session, end that one first: "
                    "daft_k8s.shutdown()"
                )
            session = open_session(configuration, **session_arguments)
            runner.use_session(session)
            return session
        session = open_session(configuration, **session_arguments)
        _next_session = session
        try:
            if inheritance.is_wanted():
                inheritance.pass_on()
            from daft.daft import set_runner_ray

            set_runner_ray()
        except BaseException:
            session.shutdown()
            raise
        finally:
            _next_session = None
        return session


def _runner_in_use() -> K8sRunner | None:
    from daft.daft import get_runner

    from daft_k8s.seam.runner import K8sRunner

    runner: Any = get_runner()
    if runner is None or isinstance(runner, K8sRunner):
        return runner
    raise ConfigurationError(
        f"this process already uses Daft's {runner.name} runner, which cannot be changed any more; "
        "call set_runner_k8s before the first DataFrame is made"
    )


def get_gpu_udf_options() -> Any:
    """Daft's question how many GPUs an AI provider can use: those of all workers that there may be."""
    from daft.ai.typing import UDFOptions

    configuration = _known_configuration()
    if configuration is None:
        return UDFOptions(concurrency=None, num_gpus=None)
    gpus = configuration.most_workers * int(configuration.worker_gpu)
    return UDFOptions(concurrency=gpus, num_gpus=1) if gpus else UDFOptions(concurrency=None, num_gpus=None)


def _known_configuration() -> Configuration | None:
    """The configuration of the session that queries use now. None: no session, or queries use another runner."""
    from daft.daft import get_runner

    from daft_k8s.driver.session import find_current_session
    from daft_k8s.seam.runner import K8sRunner

    runner: Any = get_runner()
    if runner is not None and not isinstance(runner, K8sRunner):
        return None
    session = find_current_session()
    if session is not None:
        return session.configuration
    return None if _configuration_source is None else _configuration_source()  # no query has made the session yet
