"""The Lease and the Secret of a session: made once, and again whenever they are gone while the session lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.together import together
from daft_k8s.kube.objects import lease, names
from daft_k8s.kube.objects.manifest import session_secret
from daft_k8s.kube.session.outside import who

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)

SECRET_SECONDS = 30.0
"""The time between two looks at the Secret: a Pod that waits for it is asked to start for longer."""
_FRESH_SECONDS = 1.0
"""A Secret that was there so lately is not looked at for another Pod: many are made at once."""


class Furnishings:
    """The objects that a session needs in its namespace besides its workers. Used on one event loop.

    Args:
        session_id: The session.
        token: Its secret.
        certificates: The files with which its workers prove who they are.
        orphan_timeout_seconds: The time that workers outlive their driver; the Lease lasts longer.
        variables: The driver's variables that its workers get.
        summarize: Says in few numbers what the session does; "": that is not known.
    """

    def __init__(
        self,
        session_id: str,
        *,
        token: str,
        certificates: Mapping[str, bytes],
        orphan_timeout_seconds: float,
        variables: Mapping[str, str] = MappingProxyType({}),
        summarize: Callable[[], str] = str,
    ) -> None:
        self._session_id = session_id
        self._token = token
        self._certificates = certificates
        self._orphan_timeout_seconds = orphan_timeout_seconds
        self._variables = dict(variables)
        self._summarize = summarize
        self.secret_name = names.new_secret_name(session_id)
        self.target: Target | None = None
        """The target, with the owner of what is made there; None: it is not known yet."""
        self._base: Target | None = None
        """The target before the Lease became its owner."""
        self._has_lease = False
        self._may_hold_lease = True
        """False: the driver has no right to make one."""
        self._complete = False
        """True if Lease and Secret are there, as far as is known."""
        self._ended = False
        self._making = asyncio.Lock()
        self._secret_seen_at = float("-inf")
        self._reported: set[str] = set()

    async def make(self, api: Api, base: Target) -> Target:
        """Makes the Lease and the Secret; returns the target with its owner.

        Raises:
            ApiError: The cluster refuses the Secret, or does not answer.
        """
        async with self._making:
            self._base = base = replace(base, secret=self.secret_name, variables=tuple(sorted(self._variables)))
            if base.owner is not None:
                self.target = base
                await together(self._make_lease(api, base), self._make_secret(api, base))
            else:
                self.target = target = _owned(base, await self._make_lease(api, base))
                await self._make_secret(api, target)
            self._complete = True
        if self.target.owner is None:
            logger.warning(
                "the driver's Pod is not known and the session has no Lease, so nothing owns the workers: "
                "should the driver be killed, they exit after orphan_timeout_seconds, and their Pods and the Secret "
                "%s stay",
                self.secret_name,
            )
        return self.target

    async def keep(self, api: Api) -> None:
        """Renews the Lease and looks after the Secret for as long as the session lives. Never gives up."""
        await asyncio.gather(self._keep_lease(api), self._keep_secret(api))

    async def secure(self, api: Api, *, surely: bool = False) -> str:
        """Makes the Secret again if it is gone; returns why it cannot be, or "". Logs both, and never raises ApiError.

        There is no right to read Secrets, which would show every other one, too. So the Secret is made: where it is
        there, the API refuses that.

        Args:
            api: The cluster.
            surely: Asks also where the Secret has been seen a moment ago.
        """
        if not surely and self._is_fresh():
            return ""
        async with self._making:
            if self._ended or self.target is None or not self._complete or (not surely and self._is_fresh()):
                return ""
            try:
                was_gone = await self._make_secret(api, self.target)
            except ApiError as error:
                problem = f"the session's Secret {self.secret_name} may be gone and could not be made again: {error}"
                if error.over_quota or error.transient_once_accepted:
                    # A quota refuses before the API looks for what is there, so this says nothing of the Secret.
                    logger.debug("%s", problem)
                else:
                    self._warn_once("secret", problem)
                return problem
        self._reported.discard("secret")
        if was_gone:
            logger.warning(
                "the session's Secret %s was gone, so that no new worker could start: a user or a controller has "
                "deleted it. It is made again",
                self.secret_name,
            )
        return ""

    def _is_fresh(self) -> bool:
        return asyncio.get_running_loop().time() - self._secret_seen_at < _FRESH_SECONDS

    async def end(self) -> None:
        """From now on nothing is made; returns once nothing is under way."""
        self._ended = True
        async with self._making:
            return

    async def _keep_secret(self, api: Api) -> None:
        while True:
            await asyncio.sleep(SECRET_SECONDS)
            try:
                await self.secure(api, surely=True)
            except Exception:
                logger.exception("the session's Secret could not be checked")

    async def _keep_lease(self, api: Api) -> None:
        published, renewed, waited_seconds = "", True, 0.0
        while True:
            step_seconds = min(lease.PUBLISH_SECONDS, lease.RENEW_SECONDS)
            await asyncio.sleep(step_seconds)
            waited_seconds += step_seconds
            if not self._may_hold_lease:
                continue
            summary = self._summary()
            is_news = renewed and summary != published  # an API that does not answer is asked no more often for it
            if not is_news and waited_seconds < lease.RENEW_SECONDS:
                continue
            published, renewed, waited_seconds = summary, False, 0.0
            try:
                renewed = await self._renew(api, summary)
            except Exception:  # whatever it was: a session that does not renew its Lease is taken for dead
                logger.exception("the session's Lease could not be renewed")

    def _summary(self) -> str:
        try:
            return self._summarize()
        except Exception:  # it is for people who watch; the Lease must be renewed without it, too
            logger.debug("the session could not be summarized", exc_info=True)
            return ""

    async def _renew(self, api: Api, summary: str) -> bool:
        """Renews the Lease, or makes it where there is none; returns True if it was renewed."""
        if self.target is None or not (self._has_lease and self._complete):
            await self._make_again(api)
            return False
        change = lease.renewal(api.now(), summary)
        try:
            await api.patch_lease(self.target.namespace, names.lease_name(self._session_id), change)
        except ApiError as error:
            if error.status != 404:
                self._warn_once("lease", f"the session's Lease could not be renewed, which is tried again: {error}")
                return False
            owned = self.target.owner is not None and self.target.owner.kind == "Lease"
            logger.warning(
                "the session's Lease is gone%s: another driver took the session for dead, perhaps because this "
                "machine slept. It is made again%s",
                ", and what it owned goes too" if owned else "",
                ", and its workers are started anew" if owned else "",
            )
            await self._make_again(api)
            return False
        self._reported.discard("lease")
        return True

    async def _make_again(self, api: Api) -> None:
        """Makes the Lease and what belonged to the old one; what fails is tried again with the next renewal."""
        base = self._base
        async with self._making:
            if self._ended or base is None:
                return
            self._complete = self._has_lease = False
            try:
                target = _owned(base, await self._make_lease(api, base))
                if target != self.target:
                    # It belongs to the old Lease, and so would soon be gone.
                    await api.delete_secret(target.namespace, self.secret_name)
                self.target = target
                await self._make_secret(api, target)
                self._complete = True
            except ApiError as error:
                self._warn_once("lease", f"the session's objects in the cluster could not be made again yet: {error}")

    async def _make_secret(self, api: Api, target: Target) -> bool:
        """Returns True if the Secret was not there before."""
        try:
            secret = session_secret(self._session_id, self._token, target, self._certificates, self._variables)
            await api.create_secret(target.namespace, secret)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # the answer to an earlier try was lost
                raise
            self._secret_seen_at = asyncio.get_running_loop().time()
            return False
        self._secret_seen_at = asyncio.get_running_loop().time()
        return True

    async def _make_lease(self, api: Api, base: Target) -> dict[str, Any] | None:
        """The session's Lease; None: it is refused for now or for good, and the session works without."""
        if not self._may_hold_lease:
            return None
        wanted = lease.session_lease(
            self._session_id,
            base,
            holder=who(),
            orphan_timeout_seconds=self._orphan_timeout_seconds,
            now=api.now(),
        )
        try:
            found: dict[str, Any] | None = await api.create_lease(base.namespace, wanted)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                selector = f"{names.SESSION_LABEL}={names.label_value(self._session_id)}"
                leases = await api.list_leases(base.namespace, selector)
                found = next((item for item in leases if lease.bears_name_of_session(item)), None)
            elif error.status != 403:
                raise
            else:
                self._may_hold_lease = not error.lacks_right
                if self._may_hold_lease:  # a quota, a webhook, a namespace that is about to go
                    self._warn_once("lease", f"the session has no Lease, which is asked for again: {error}")
                else:
                    logger.info("the session has no Lease: %s", error)
                return None
        self._has_lease = found is not None
        return found

    def _warn_once(self, key: str, text: str) -> None:
        """Warns once of what is tried again and again, until it has succeeded."""
        logger.log(logging.DEBUG if key in self._reported else logging.WARNING, "%s", text)
        self._reported.add(key)


def _owned(base: Target, found: Mapping[str, Any] | None) -> Target:
    """The target with the owner of what is made there: to the driver's Pod, else to the session's Lease, if any."""
    return base if base.owner is not None or found is None else replace(base, owner=lease.owner(found))
