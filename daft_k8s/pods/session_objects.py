"""What a session makes in the cluster besides its workers, and how everything it has made goes again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import WorkerStartError
from daft_k8s.pods import lease, names, rights
from daft_k8s.pods.driver_pod import own_namespace
from daft_k8s.pods.manifest import session_secret
from daft_k8s.pods.outside import who
from daft_k8s.pods.problems import ApiError
from daft_k8s.pods.sweep import remove_session, sweep_dead_sessions, sweep_predecessors
from daft_k8s.pods.together import together

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.pods.access import Access
    from daft_k8s.pods.api import Api
    from daft_k8s.pods.home import Home

logger = logging.getLogger(__name__)

END_GRACE_SECONDS = 5
"""For workers whose session has ended: they have been told already, and nobody waits for their tasks."""
_END_RETRY_SECONDS = 0.5
_DELETE_DELAYS_SECONDS = (0.5, 2.0, 5.0, 0.0)


class SessionObjects:
    """The home of a session's workers: found and furnished once, and cleared when the session ends.

    Used on one event loop.

    Args:
        configuration: What says where workers go.
        session_id: The session.
        token: Its secret.
        certificates: The files with which its workers prove who they are.
        access: How this process gets at the cluster.
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
        self._session_id = session_id
        self._token = token
        self._certificates = certificates
        self._access = access
        self._summarize = summarize
        self.selector = names.session_selector(session_id)
        """Selects its workers' Pods."""
        self.api: Api | None = None
        """None: nobody has asked the cluster yet."""
        self.home: Home | None = None
        """None: it is not known yet."""
        self._base: Home | None = None
        """The home before the Lease became its owner."""
        self._has_lease = False
        self._told: set[str] = set()
        """What was warned of."""
        self._furnished = False
        """Whether Lease and Secret are there, as far as is known."""

    async def set_up(self, look: Callable[[Api, Home], Coroutine[Any, Any, None]]) -> tuple[Api, Home]:
        """Finds the home and makes the session's Secret there. May be tried again after it failed.

        Args:
            look: Looks at the home, before anything is made there.

        Raises:
            ApiError: The cluster refused something, or did not answer.
            DaftK8sError: The home is not known, or rights are missing there.
        """
        if self.api is None:
            self.api = await self._access.connect()
        api = self.api
        base = await self._find_home_or_explain(api)
        # Each question takes its time on the way; what does not depend on one another is asked at once.
        await together(
            self._check_rights(api, base.namespace),
            self._sweep(sweep_predecessors(api, base, self._session_id)),
            look(api, base),
        )
        return api, await self._furnish(api, base)

    async def keep(self) -> None:
        """Renews the session's Lease for as long as it lives, and sweeps what dead ones left. Never gives up."""
        if self.api is None or self.home is None:
            return
        # Beside each other: a sweep takes its time, and meanwhile this session must not seem dead itself.
        await asyncio.gather(
            self._sweep(sweep_dead_sessions(self.api, self.home.namespace)), self._keep_lease(self.api, self.home)
        )

    async def _keep_lease(self, api: Api, home: Home) -> None:
        published, renewed, waited_seconds = "", True, 0.0
        while True:
            step_seconds = min(lease.PUBLISH_SECONDS, lease.RENEW_SECONDS)
            await asyncio.sleep(step_seconds)
            waited_seconds += step_seconds
            if not self._has_lease:
                continue
            summary = self._summary()
            is_news = renewed and summary != published  # an API that does not answer is asked no more often for it
            if not is_news and waited_seconds < lease.RENEW_SECONDS:
                continue
            published, renewed, waited_seconds = summary, False, 0.0
            try:
                renewed = await self._renew(api, home, summary)
            except Exception:  # whatever it was: a session that does not renew its Lease is taken for dead
                logger.exception("the session's Lease could not be renewed")

    def _summary(self) -> str:
        try:
            return self._summarize()
        except Exception:  # it is for people who watch; the Lease must be renewed without it, too
            logger.debug("the session could not be summarized", exc_info=True)
            return ""

    async def _renew(self, api: Api, home: Home, summary: str) -> bool:
        """Whether it was renewed."""
        if not self._furnished:
            await self._furnish_again(api, home)
            return False
        change = lease.renewal(api.now(), summary)
        try:
            await api.patch_lease(home.namespace, names.lease_name(self._session_id), change)
        except ApiError as error:
            if error.status != 404:
                logger.warning("the session's Lease could not be renewed: %s", error)
                return False
            logger.warning(
                "the session's Lease is gone, and what it owned goes too: somebody took the session for dead, perhaps "
                "because this machine slept. It is made again, and its workers are started anew"
            )
            await self._furnish_again(api, home)
            return False
        return True

    async def _furnish_again(self, api: Api, home: Home) -> None:
        self._furnished = False
        try:
            # It belongs to the old Lease, and so would soon be gone.
            await api.delete_secret(home.namespace, names.secret_name(self._session_id))
            await self._furnish(api, home if self._base is None else self._base)
        except ApiError as error:
            logger.warning("what the session needs in the cluster could not be made again yet: %s", error)

    async def _furnish(self, api: Api, base: Home) -> Home:
        """Makes the Lease and the Secret; returns the home with its owner."""
        self._base = base
        if base.owner is not None:
            self.home = home = base
            await together(self._make_lease(api, base), self._make_secret(api, home))
        else:
            found = await self._make_lease(api, base)
            self.home = home = base if found is None else replace(base, owner=lease.owner(found))
            await self._make_secret(api, home)
        self._furnished = True
        if home.owner is None:
            logger.warning(
                "the driver's Pod is not known and the driver may not create leases, so nothing owns the workers: "
                "should the driver be killed, they exit after orphan_timeout_seconds, and their Pods and the Secret "
                "%s stay",
                names.secret_name(self._session_id),
            )
        return home

    async def _make_secret(self, api: Api, home: Home) -> None:
        try:
            secret = session_secret(self._session_id, self._token, home, self._certificates)
            await api.create_secret(home.namespace, secret)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # the answer to an earlier try was lost
                raise

    async def _make_lease(self, api: Api, base: Home) -> dict[str, Any] | None:
        """The session's Lease; None: there may be none, and it works without."""
        found = await self._ask_for_lease(api, base)
        self._has_lease = found is not None
        return found

    async def _ask_for_lease(self, api: Api, base: Home) -> dict[str, Any] | None:
        wanted = lease.session_lease(
            self._session_id,
            base,
            holder=who(),
            orphan_timeout_seconds=self._configuration.orphan_timeout_seconds,
            now=api.now(),
        )
        try:
            return await api.create_lease(base.namespace, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                selector = f"{names.SESSION_LABEL}={names.label_value(self._session_id)}"
                return next(iter(await api.list_leases(base.namespace, selector)), None)
            if error.status != 403:
                raise
            logger.info("the session has no Lease: %s", error)
            return None

    async def _sweep(self, sweeping: Coroutine[Any, Any, list[str]]) -> None:
        try:
            await sweeping
        except ApiError as error:
            # It is a service to others, and the next session does it again.
            logger.info("what dead sessions left could not be removed: %s", error)
        except Exception:  # what others have made may look like anything
            logger.exception("what dead sessions left could not be understood")

    async def _find_home_or_explain(self, api: Api) -> Home:
        try:
            return await self._access.find_home(api, self._configuration)
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
            logger.debug("the driver's rights could not be reviewed: %s", error)  # then calls tell, one by one
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
        for delay in _DELETE_DELAYS_SECONDS:
            if self.api is None or self.home is None:
                return
            try:
                return await self.api.delete_pod(self.home.namespace, pod, grace_seconds)
            except ApiError as error:
                if not error.transient_once_accepted or not delay:
                    return self.tell_once(f"the Pod {pod} could not be deleted", error)
                pause = max(error.wait_seconds, delay)
            await asyncio.sleep(pause)

    def tell_once(self, what: str, error: ApiError) -> None:
        """Warns of a problem that will be met again: once for each object, once for all where a right is missing."""
        key = error.action if error.status == 403 else what
        logger.log(logging.DEBUG if key in self._told else logging.WARNING, "%s: %s", what, error)
        self._told.add(key)

    async def tear_down(self, timeout_seconds: float) -> None:
        """Deletes all that the session has made, and says what is left if it cannot."""
        problems: list[ApiError] = []
        try:
            await asyncio.wait_for(self._delete_all(problems), timeout_seconds)
        except asyncio.TimeoutError:
            why = f" ({problems[-1]})" if problems else ""
            logger.error("deleting the Pods of session %s takes too long%s; %s", self._session_id, why,
                         self._what_is_left())  # fmt: skip
        except ApiError as error:
            logger.error("the Pods of session %s could not be deleted: %s; %s", self._session_id, error,
                         self._what_is_left())  # fmt: skip

    async def close(self) -> None:
        """Ends the connection."""
        if self.api is not None:
            await self.api.close()

    def _what_is_left(self) -> str:
        if self.home is not None and self.home.owner is not None:
            if self.home.owner.kind == "Pod":
                return "the cluster deletes them with the driver's Pod"
            return "the next session in the namespace removes them, once their Lease has run out"
        kinds = "pods,secrets" if self._configuration.allocation == "pod" else "statefulsets,services,pods,secrets"
        return f"delete them by hand: kubectl delete {kinds} -l {names.SESSION_LABEL}={self._session_id}"

    async def _delete_all(self, problems: list[ApiError]) -> None:
        """Tries until it succeeds, or can not; whoever calls it sets the end, and finds what went wrong so far."""
        while self.api is not None and self.home is not None:
            try:
                session = names.label_value(self._session_id)
                return await remove_session(self.api, self.home.namespace, session, END_GRACE_SECONDS)
            except ApiError as error:
                if not error.transient_once_accepted:
                    raise
                logger.debug("the Pods of session %s could not be deleted yet: %s", self._session_id, error)
                problems.append(error)
            await asyncio.sleep(_END_RETRY_SECONDS)
