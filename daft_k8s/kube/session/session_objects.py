"""The objects of a session besides its workers, and the removal of everything that it has made."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.config.environment import passed_on
from daft_k8s.errors import ClusterError, WorkerStartError
from daft_k8s.kube.client import retries
from daft_k8s.kube.client.errors import ApiError, Obstacle, explain_obstacle
from daft_k8s.kube.client.in_cluster import own_namespace
from daft_k8s.kube.client.together import together
from daft_k8s.kube.objects import names, rights
from daft_k8s.kube.session.furnishings import Furnishings
from daft_k8s.kube.session.sweep import Remains, remove_session, sweep_dead_sessions, sweep_predecessors

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target
    from daft_k8s.kube.session.access import Access

logger = logging.getLogger(__name__)

END_GRACE_SECONDS = 5
"""For workers whose session has ended: they were asked to stop already, and no query waits for their tasks."""


class SessionObjects:
    """The target of a session's workers: found once, given its objects, and cleared when the session ends.

    Used on one event loop.

    Args:
        configuration: The options that determine the target.
        session_id: The session.
        token: Its secret.
        certificates: The files with which its workers prove who they are.
        access: The access to the cluster.
        summarize: Says in few numbers what the session does; "": that is not known.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        session_id: str,
        token: str,
        certificates: Mapping[str, bytes],
        access: Access,
        summarize: Callable[[], str] = str,
    ) -> None:
        self._configuration = configuration
        self.session_id = session_id
        self._access = access
        self._furnishings = Furnishings(
            session_id,
            token=token,
            certificates=certificates,
            orphan_timeout_seconds=configuration.orphan_timeout_seconds,
            variables=passed_on(configuration, os.environ),
            summarize=summarize,
        )
        self.selector = names.session_selector(session_id)
        """Selects its workers' Pods."""
        self.api: Api | None = None
        """None: the cluster was not asked yet."""
        self._reported: set[str] = set()
        """Problems that were warned of."""

    @property
    def target(self) -> Target | None:
        """The place of the workers; None: it is not known yet."""
        return self._furnishings.target

    @property
    def secret_name(self) -> str:
        """The name of the session's Secret."""
        return self._furnishings.secret_name

    async def set_up(self, look: Callable[[Api, Target], Coroutine[Any, Any, None]]) -> tuple[Api, Target]:
        """Finds the target and makes the session's Secret there. May be tried again after it failed.

        Args:
            look: Looks at the target, before anything is made there.

        Raises:
            ApiError: The cluster refused something, or did not answer.
            ClusterError: The cluster has never answered, and its address leads to no API server.
            DaftK8sError: The target is not known, or rights are missing there.
        """
        if self.api is None:
            self.api = await self._access.connect()
        api = self.api
        try:
            return await self._find_and_furnish(api, look)
        except ApiError as error:
            # In a Pod the address is right by construction, and what refuses there (a mesh's sidecar that has not begun
            # yet) does so for seconds. Nothing but a new kubeconfig mends a wrong one.
            hopeless = self._access.forwarded or error.obstacle is Obstacle.CERTIFICATE
            if error.obstacle is None or api.has_answered or not hopeless:
                raise
            raise ClusterError(
                explain_obstacle(error.obstacle, error.message, address=api.address, origin=api.origin)
            ) from error

    async def _find_and_furnish(
        self, api: Api, look: Callable[[Api, Target], Coroutine[Any, Any, None]]
    ) -> tuple[Api, Target]:
        base = await self._find_target_or_explain(api)
        # Each question takes its time on the way; what does not depend on one another is asked at once.
        await together(
            self._check_rights(api, base.namespace),
            self._sweep(sweep_predecessors(api, base, self.session_id)),
            look(api, base),
        )
        return api, await self._furnishings.make(api, base)

    async def keep(self) -> None:
        """Keeps the session's Lease and Secret for as long as it lives, and sweeps what dead ones left."""
        if self.api is None or self.target is None:
            return
        # Beside each other: a sweep takes its time, and meanwhile this session must not seem dead itself.
        await asyncio.gather(
            self._sweep(sweep_dead_sessions(self.api, self.target.namespace)), self._furnishings.keep(self.api)
        )

    async def secure(self, *, surely: bool = False) -> str:
        """Makes the session's Secret, for which new Pods wait, again if it is gone; returns why it cannot, or "".

        Args:
            surely: Asks also where the Secret has been seen a moment ago.
        """
        return "" if self.api is None else await self._furnishings.secure(self.api, surely=surely)

    async def _sweep(self, sweeping: Coroutine[Any, Any, list[str]]) -> None:
        try:
            await sweeping
        except ApiError as error:
            # It is a service to others, and the next session does it again.
            logger.info("what dead sessions left could not be removed: %s", error)
        except Exception:  # what others have made may look like anything
            logger.exception("what dead sessions left could not be understood")

    async def _find_target_or_explain(self, api: Api) -> Target:
        try:
            return await self._access.find_target(api, self._configuration)
        except ApiError as error:
            namespace = self._configuration.namespace or own_namespace()
            if error.status == 403 and namespace is not None:
                await self._check_rights(api, namespace)
            raise

    async def _check_rights(self, api: Api, namespace: str) -> None:
        """Names every right that is missing at once, before anything is made."""
        questions = list(rights.questions(self._configuration, outside=self._access.forwarded))
        try:
            answers = await together(
                *(api.may(namespace, right.group, right.resource, right.verb) for right in questions)
            )
        except ApiError as error:
            logger.debug("the driver's rights could not be reviewed: %s", error)  # then calls report, one by one
            return
        missing = [right for right, allowed in zip(questions, answers, strict=True) if not allowed]
        if any(not right.optional for right in missing):
            raise WorkerStartError(
                rights.explain_missing(missing, namespace, self._configuration, outside=self._access.forwarded)
            )
        if missing:
            logger.info("the driver works without these rights: %s", ", ".join(map(str, missing)))

    async def delete_pod(self, pod: str, grace_seconds: int) -> None:
        """Deletes a Pod; tries again where that may help, and else says so."""
        api, target = self.api, self.target
        if api is None or target is None:
            return
        try:
            await retries.deletion()(api.delete_pod, target.namespace, pod, grace_seconds)
        except ApiError as error:
            self.warn_once(f"the Pod {pod} could not be deleted", error)

    def warn_once(self, what: str, error: ApiError) -> None:
        """Warns of a problem that will be met again: once for each object, once for all where a right is missing."""
        key = error.action if error.status == 403 else what
        logger.log(logging.DEBUG if key in self._reported else logging.WARNING, "%s: %s", what, error)
        self._reported.add(key)

    async def tear_down(self, timeout_seconds: float) -> None:
        """Deletes all that the session has made, and says what is left if it cannot."""
        problems: list[ApiError] = []
        try:
            await asyncio.wait_for(self._end(problems, timeout_seconds), timeout_seconds)
        except asyncio.TimeoutError:
            why = f" ({problems[-1]})" if problems else ""
            logger.error("deleting the Pods of session %s takes too long%s; %s", self.session_id, why,
                         self._what_is_left())  # fmt: skip
        except ApiError as error:
            logger.error("the Pods of session %s could not be deleted: %s; %s", self.session_id, error,
                         self._what_is_left())  # fmt: skip

    async def close(self) -> None:
        """Ends the connection."""
        if self.api is not None:
            await self.api.close()

    def _what_is_left(self) -> str:
        if self.target is not None and self.target.owner is not None:
            if self.target.owner.kind == "Pod":
                return "the cluster deletes them with the driver's Pod"
            return "the next session in the namespace removes them, once their Lease has run out"
        kinds = "pods,secrets" if self._configuration.allocation == "pod" else "statefulsets,services,pods,secrets"
        return f"delete them by hand: kubectl delete {kinds} -l {names.SESSION_LABEL}={self.session_id}"

    async def _end(self, problems: list[ApiError], timeout_seconds: float) -> None:
        with contextlib.suppress(
            asyncio.TimeoutError
        ):  # what the API has not answered keeps nothing from being deleted
            await asyncio.wait_for(self._furnishings.end(), timeout_seconds / 4)
        await self._delete_all(problems)

    async def _delete_all(self, problems: list[ApiError]) -> None:
        """Tries until it succeeds or cannot succeed. The caller sets the end, and finds the errors so far."""
        api, target = self.api, self.target
        if api is None or target is None:
            return

        def report(error: ApiError) -> None:
            logger.debug("the Pods of session %s could not be deleted yet: %s", self.session_id, error)
            problems.append(error)

        remains = Remains(names.label_value(self.session_id), secret=self.secret_name)
        await retries.tear_down(report=report)(remove_session, api, target.namespace, remains, END_GRACE_SECONDS)
