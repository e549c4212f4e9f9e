"""A run of a driver's Job: create, follow, return its exit code, cancel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.parse
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daft_k8s.code.bundle import CodeBundle, make_bundle
from daft_k8s.code.notebook import SUFFIX, read_cells
from daft_k8s.code.selection import SelectedFile, select_files, shown_bytes
from daft_k8s.config import FIELDS
from daft_k8s.config.environment import as_environment, passed_on
from daft_k8s.errors import ClusterError, ConfigurationError
from daft_k8s.jobs.driver_job import DriverJob, code_secrets, job_manifest, variables_secret
from daft_k8s.jobs.driver_pod import CODE_DIR, CONTAINER
from daft_k8s.jobs.watch import Progress, Story, watch
from daft_k8s.kube.client.console import Console, NotFoundError
from daft_k8s.kube.objects.names import RUN_LABEL
from daft_k8s.kube.pods.state import PodState, Stage, read_state

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

_DASHBOARD = "DAFT_DASHBOARD_URL"
"""Daft's own variable."""
_POLL_SECONDS = 0.5
_LOG_RETRIES = 5
_STUCK_SECONDS = 20.0
"""The time for which an image may fail to be pulled before the run is given up."""
_CANCEL_SECONDS = 40.0


class Run:
    """A Job that runs a driver.

    Args:
        job: The program.
        configuration: The configuration of driver and workers.
        keep: Leave the Job in the cluster when it has ended.
        report: Is given each line of progress.
        write: Is given each line of the driver's log.
        show: Is given what the run does, every two seconds.

    Raises:
        ConfigurationError: The image is not set, or the script is not part of the code.
        CodeError: The code cannot be brought along.
    """

    def __init__(
        self,
        job: DriverJob,
        configuration: Configuration,
        *,
        keep: bool,
        report: Callable[[str], None],
        write: Callable[[str], None],
        show: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        if configuration.image is None:
            raise ConfigurationError(
                "image is not set; name the image of driver and workers with --image or DAFT_K8S_IMAGE "
                "(images/Dockerfile makes one), or use --local"
            )
        self._job = job
        self._configuration = configuration
        self._keep = keep
        self._report = report
        self._write = write
        self._show = show
        self._story = Story()
        self._began = time.monotonic()
        self._bundle, working_dir = _pack(job, configuration, report)
        self._variables = passed_on(configuration, os.environ)
        chosen = as_environment(configuration)
        chosen.pop(FIELDS["kube_context"].variable, None)  # of this machine's kubeconfig, which the Pod does not have
        self._environment = {
            **chosen,
            **_dashboard(os.environ),
            "DAFT_RUNNER": "k8s",
            "HOME": "/tmp",
            "PYTHONUNBUFFERED": "1",
        }
        if working_dir:
            self._environment["DAFT_K8S_WORKING_DIR"] = working_dir
        self._path = f"/apis/batch/v1/{{ns}}/jobs/{job.run_name}"

    async def create(self, console: Console) -> None:
        """Makes the Job, and the Secrets with its code.

        Raises:
            CodeError: The code is too large for Secrets.
            ClusterError: The cluster refuses the Job.
        """
        secrets = 0
        if self._bundle is not None:
            owner: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "name": "", "uid": ""}
            secrets = len(code_secrets(self._job, self._bundle, owner))
        manifest = job_manifest(
            self._job,
            self._configuration,
            secrets=secrets,
            environment=self._environment,
            keep=self._keep,
            has_variables=bool(self._variables),
        )
        account = self._job.service_account
        try:
            await console.get(f"/api/v1/{{ns}}/serviceaccounts/{account}")
        except NotFoundError as error:
            await console.check_namespace()
            raise ClusterError(
                f"there is no service account {account!r} in the namespace {console.namespace!r} for the driver; make "
                f"it with: daft-k8s rbac -n {console.namespace} --name {account} | kubectl apply -f -"
            ) from error
        created = await self._create_job(console, manifest)
        self._began = time.monotonic()
        self._report(f"run {self._job.run_name} in the namespace {console.namespace}")
        # The Pod waits for them. They belong to the Job, so that they go with it.
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": self._job.run_name, "uid": created["metadata"]["uid"]}
        made = [] if self._bundle is None else code_secrets(self._job, self._bundle, owner)
        if self._variables:
            made.append(variables_secret(self._job, self._variables, owner))
        try:
            for item in made:
                await console.create("/api/v1/{ns}/secrets", item)
        except BaseException:
            await _to_its_end(console.delete(self._path))
            raise

    async def _create_job(self, console: Console, manifest: dict[str, Any]) -> dict[str, Any]:
        """Makes the Job; one that is made while the run is cancelled is deleted."""
        creating = asyncio.ensure_future(console.create("/apis/batch/v1/{ns}/jobs", manifest))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            await asyncio.wait([creating])
            if not creating.cancelled() and creating.exception() is None:
                await console.delete(self._path)
            raise

    async def attach(self, console: Console, attach: Callable[[str], int]) -> int:
        """Has a terminal attached to the driver, and removes the Job when that has ended; returns its exit code.

        Args:
            console: The cluster.
            attach: Attaches to a Pod until the end; called on a thread of its own.

        Raises:
            ClusterError: The cluster does not start the driver.
        """
        try:
            return await asyncio.to_thread(attach, await self._wait_for_start(console))
        finally:
            await _to_its_end(self._remove(console))

    async def finish(self, console: Console) -> int:
        """Follows the driver to its end and returns its exit code. Cancelled, it ends the driver and its workers.

        Args:
            console: The cluster.

        Raises:
            ClusterError: The cluster does not start the driver, or loses it.
        """
        removes = not self._keep
        try:
            return await self._follow(console)
        except asyncio.CancelledError:
            self._report("cancelling: the driver ends its workers ...")
            removes = True
            raise
        finally:
            if removes:
                await _to_its_end(self._remove(console))

    async def _follow(self, console: Console) -> int:
        pod = await self._wait_for_start(console)
        watching = asyncio.ensure_future(
            watch(console, pod, self._story, clock=self._seconds, report=self._report, show=self._show)
        )
        try:
            await self._copy_log(console, pod)
            code = await self._exit_code(console)
        finally:
            watching.cancel()
        self._report(f"run {self._job.run_name} {self._story.summary(code, self._seconds())}")
        return code

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    async def _pods(self, console: Console) -> list[dict[str, Any]]:
        return await console.items("/api/v1/{ns}/pods", f"{RUN_LABEL}={self._job.run_name}")

    async def _wait_for_start(self, console: Console) -> str:
        """Waits until the driver's container has run; returns its Pod's name."""
        told: tuple[Stage, bool] | None = None
        waited = 0.0
        while True:
            pods = await self._pods(console)
            state = read_state(pods[0], CONTAINER) if pods else PodState(Stage.PENDING)
            if pods and (state.stage in (Stage.STARTING, Stage.READY, Stage.TERMINATING) or state.stage.over):
                if _has_run(pods[0]):
                    self._report(self._story.driver_runs(self._seconds(), state.node))
                return str(pods[0]["metadata"]["name"])
            if not pods:
                await self._explain_missing_pod(console, waited)
            installs = bool(pods) and _installs(pods[0])
            words = "pip installs its packages" if installs else state.reason or state.stage.value
            if (state.stage, installs) != told:  # the reason of a stage may change with each look
                told = (state.stage, installs)
                self._report(f"the driver: {words}")
            failing = state.stage in (Stage.PULL_FAILING, Stage.CONFIG_FAILING)
            waited = waited + _POLL_SECONDS if failing or not pods else 0.0
            if state.hopeless or (failing and waited > _STUCK_SECONDS):
                raise ClusterError(f"the driver's Pod cannot start: {words}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _explain_missing_pod(self, console: Console, waited_seconds: float) -> None:
        if waited_seconds < 4:
            return
        selector = f"involvedObject.name={self._job.run_name}"
        events = (await console.get("/api/v1/{ns}/events", fieldSelector=selector)).get("items") or []
        problems = [str(event.get("message")) for event in events if event.get("type") == "Warning"]
        if problems:
            raise ClusterError(f"the driver's Pod cannot be made: {problems[-1]}")
        if waited_seconds > _STUCK_SECONDS:
            raise ClusterError("the Job has made no Pod; see `kubectl describe job`")

    async def _copy_log(self, console: Console, pod: str) -> None:
        """Writes the log until the container has ended; goes on where a broken connection has left it."""
        written = 0
        for _ in range(_LOG_RETRIES):
            number = 0
            try:
                lines = console.lines(f"/api/v1/{{ns}}/pods/{pod}/log", container=CONTAINER, follow="true")
                async with aclosing(lines):
                    async for line in lines:
                        number += 1
                        if number > written:
                            written = number
                            self._write(line)
            except NotFoundError:
                return
            except ClusterError:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if await self._has_ended(console):
                return

    async def _has_ended(self, console: Console) -> bool:
        pods = await self._pods(console)
        return not pods or read_state(pods[0], CONTAINER).stage.over

    async def _exit_code(self, console: Console) -> int:
        while True:
            pods = await self._pods(console)
            if not pods:
                raise ClusterError("the driver's Pod was deleted")
            state = read_state(pods[0], CONTAINER)
            if state.stage.over:
                if state.exit_code is None:
                    raise ClusterError(f"the driver was lost: {state.reason or state.stage.value}")
                if state.exit_code and state.reason:
                    self._report(f"the driver: {state.reason}")
                return state.exit_code
            await asyncio.sleep(_POLL_SECONDS)

    async def _remove(self, console: Console) -> None:
        """Deletes the Job and waits until its Pod, and so what the driver has made, is gone."""
        await console.delete(self._path)
        for _ in range(int(_CANCEL_SECONDS / _POLL_SECONDS)):
            if not await self._pods(console):
                return
            await asyncio.sleep(_POLL_SECONDS)
        self._report(f"the Pod of {self._job.run_name} is still ending; the cluster removes it")


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Does a clean-up that a cancellation of the caller does not break off. It is bounded by itself."""
    doing = asyncio.ensure_future(work)
    while not doing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([doing])
    doing.result()


def _has_run(pod: Mapping[str, Any]) -> bool:
    """True if the driver's container has started, and not an init container alone."""
    return any(
        item.get("name") == CONTAINER and not {"running", "terminated"}.isdisjoint(item.get("state") or {})
        for item in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _installs(pod: Mapping[str, Any]) -> bool:
    """True while an init container runs; the only one of ours installs packages."""
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return any("running" in (item.get("state") or {}) for item in statuses)


def _dashboard(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable by which Daft's dashboard is found, unless that is on this machine, which no Pod reaches."""
    url = environment.get(_DASHBOARD, "")
    host = urllib.parse.urlsplit(url).hostname
    return {} if host in (None, "localhost", "127.0.0.1", "::1", "0.0.0.0") else {_DASHBOARD: url}


def _pack(job: DriverJob, configuration: Configuration, report: Callable[[str], None]) -> tuple[CodeBundle | None, str]:
    """The code that comes along, and the driver's `working_dir` if that must change."""
    if not job.script and not job.module:
        return None, ""
    wanted, limit = configuration.working_dir, configuration.code_size_limit_bytes
    what = f"the module {job.module}" if job.module else f"the script {job.script}"
    folder = os.path.realpath(os.getcwd() if job.module else os.path.dirname(os.path.realpath(job.script)))
    everything = os.path.isdir(wanted)
    if everything:
        if os.path.commonpath([os.path.realpath(wanted), folder]) != os.path.realpath(wanted):
            raise ConfigurationError(f"{what} is not in working_dir {wanted}")
        if os.path.realpath(wanted) != folder:
            raise ConfigurationError(f"{what} must lie directly in working_dir {wanted}")
    files = select_files(folder, modules_only=not everything, size_limit_bytes=limit)
    if job.script.endswith(SUFFIX):
        name = os.path.basename(job.script)
        read_cells(Path(job.script))  # a mistake is known here before a Pod is made
        notebook = SelectedFile(name, os.path.realpath(job.script), os.path.getsize(job.script))
        files = sorted({*files, notebook})
    bundle = make_bundle(folder, files, size_limit_bytes=limit)
    shipped = {file.path for file in files}
    if job.module and shipped.isdisjoint(_files_of(job.module)):
        raise ConfigurationError(
            f"the module {job.module} is not shipped: {' and '.join(_files_of(job.module))} are not there in {folder}, "
            "the current folder, or an ignore file names them"
        )
    if job.script and os.path.basename(job.script) not in shipped:
        raise ConfigurationError(
            f"the script {job.script} is not shipped: its name must end in .py or {SUFFIX}, and no ignore file may "
            "name it"
        )
    report(f"ships {len(files)} files ({shown_bytes(bundle.size_bytes)}) of {folder}")
    return bundle, CODE_DIR if everything else ""


def _files_of(module: str) -> tuple[str, str]:
    """The files that `python -m` would run for a module."""
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__main__.py"
