"""The runner object that Daft calls for every query."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import daft
from daft.context import get_context
from daft.daft import (
    DistributedPhysicalPlan,
    DistributedPhysicalPlanRunner,
    PyDaftExecutionConfig,
    RayPartitionRef,
)
from daft.errors import UDFException
from daft.execution.metadata import ExecutionMetadata
from daft.runners.partitioning import LocalPartitionSet, PartitionSetCache
from daft.runners.query_id import emit_query_id
from daft.runners.runner import Runner

from daft_k8s.driver.session import Session
from daft_k8s.errors import SessionClosedError, WorkerLostError
from daft_k8s.seam.determinism import QueryDeterminism
from daft_k8s.seam.execution_config import FLIGHT_SHUFFLE, fit_to_cluster
from daft_k8s.seam.notifications import QueryNotifications
from daft_k8s.seam.partitions import (
    GoneReference,
    K8sMaterializedResult,
    K8sPartitionSet,
    K8sRunnerIO,
    held,
    holds_objects,
)
from daft_k8s.seam.parts import parts_of
from daft_k8s.seam.path_entries import pod_paths
from daft_k8s.seam.plan_check import (
    find_endless_wait,
    refuse_endless_wait,
    refuse_impossible_requests,
    refuse_sort_merge_join,
)
from daft_k8s.seam.plan_paths import find_paths, has_uploads
from daft_k8s.seam.repetition import QueryRun, repeat, repeat_until_handed_out
from daft_k8s.seam.staged_writes import Disk, OwnDisk, WorkersDisk, find_write
from daft_k8s.seam.stream import ResultStream
from daft_k8s.seam.unlimited import Cut
from daft_k8s.wire.raised import text_of

if TYPE_CHECKING:
    from daft.daft import PyExecutionStats
    from daft.logical.builder import LogicalPlanBuilder
    from daft.recordbatch import MicroPartition
    from daft.runners.partitioning import PartitionCacheEntry, PartitionSet

    from daft_k8s._native import PartitionRef

REFERENCES_AHEAD = 64
"""Results pulled ahead when only their references are wanted; they hold no data here."""

DATA_AHEAD = 4
"""Results whose data is fetched ahead, at most: each may be as large as a partition."""


class K8sRunner(Runner[Any]):
    """Runs Daft's distributed plans on the workers of a session. Several queries may run at once."""

    # Daft knows two kinds of runner by name, and "ray" is its name for a distributed one.
    name = "ray"

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    @property
    def session(self) -> Session:
        """The session whose workers run the queries."""
        return self._session

    def use_session(self, session: Session) -> None:
        """Goes on with the workers of another session, after the first was shut down."""
        self._session = session

    def initialize_partition_set_cache(self) -> PartitionSetCache:
        return PartitionSetCache()

    def runner_io(self) -> K8sRunnerIO:
        return K8sRunnerIO()

    def run_iter(
        self, builder: LogicalPlanBuilder, results_buffer_size: int | None = None
    ) -> Generator[K8sMaterializedResult, None, ExecutionMetadata]:
        """Runs a query and yields references to its partitions as they come."""
        fetch = results_buffer_size is not None
        ahead = REFERENCES_AHEAD if results_buffer_size is None else min(results_buffer_size, DATA_AHEAD)

        def attempt(run: QueryRun) -> Generator[K8sMaterializedResult, None, ExecutionMetadata]:
            return self._run(builder, run, ahead=ahead, fetch=fetch)

        return repeat_until_handed_out(self._session, attempt)

    def run_iter_tables(
        self, builder: LogicalPlanBuilder, results_buffer_size: int | None = None
    ) -> Iterator[MicroPartition]:
        """Runs a query and yields its data, a few partitions of which are fetched ahead."""
        ahead = DATA_AHEAD if results_buffer_size is None else min(results_buffer_size, DATA_AHEAD)

        def attempt(run: QueryRun) -> Generator[MicroPartition, None, None]:
            cut = Cut(builder)
            results = self._run(builder, run, ahead=ahead, fetch=True, cut=cut)
            try:
                for result in results:
                    try:
                        data = result.micropartition()
                    except WorkerLostError as error:
                        results.throw(error)  # the query has failed, and subscribers are told so
                        raise
                    del result
                    yield cut.take(data)
                    if cut.has_enough:
                        break
            finally:
                results.close()

        return repeat_until_handed_out(self._session, attempt)

    def run(self, builder: LogicalPlanBuilder) -> tuple[PartitionCacheEntry, ExecutionMetadata | None]:
        """Runs a query to its end; its data stays on the workers."""
        write = find_write(builder)

        def attempt(run: QueryRun) -> tuple[K8sPartitionSet, ExecutionMetadata]:
            if write is None:
                return self._collect(builder, run)
            with parts_of(self._session).stages.begin(write, self._disk()) as stage:
                run.stage_files()
                collected, metadata = self._collect(stage.builder, run)
                listed = stage.publish([result.micropartition() for _, result in collected.items()])
                return K8sPartitionSet.from_local(self._session, _local(listed)), metadata

        collected, metadata = repeat(self._session, attempt)
        return self._part_set_cache.put_partition_set(collected), metadata

    def _disk(self) -> Disk:
        if self._session.configuration.allocation == "local":
            return OwnDisk()
        return WorkersDisk(lambda builder: repeat(self._session, lambda run: self._collect(builder, run)))

    def _collect(self, builder: LogicalPlanBuilder, run: QueryRun) -> tuple[K8sPartitionSet, ExecutionMetadata]:
        collected = K8sPartitionSet()

        def check() -> None:
            # A worker that died late has perhaps taken results with it that were here as references. What was
            # written stays written, though, and only the list of its files is lost.
            if not run.has_written:
                collected.ensure_held()

        results = self._run(builder, run, ahead=REFERENCES_AHEAD, fetch=False, before_end=check)
        while True:
            try:
                result = next(results)
            except StopIteration as end:
                return collected, end.value
            collected.set_partition(collected.num_partitions(), result)

    def put_partition_set_into_cache(self, pset: PartitionSet[Any]) -> PartitionCacheEntry:
        if isinstance(pset, LocalPartitionSet):
            pset = K8sPartitionSet.from_local(self._session, pset)
        return self._part_set_cache.put_partition_set(pset)

    def _cached_references(self, session: Session) -> dict[str, list[RayPartitionRef]]:
        return {
            key: partition_set.references(session)
            for key, partition_set in self._part_set_cache.get_all_partition_sets().items()
            if isinstance(partition_set, K8sPartitionSet)
        }

    def _plan(self, builder: LogicalPlanBuilder, query_id: str) -> _Planned:
        session = self._session
        config = get_context().daft_execution_config
        optimized = builder.optimize(config)
        fitted = fit_to_cluster(
            config,
            PyDaftExecutionConfig(),
            slots=session.slots,
            shuffle_partitions=session.configuration.shuffle_partitions,
            flight_folders=parts_of(session).flight_folders.private,
        )
        uses_flight = fitted.shuffle_algorithm == FLIGHT_SHUFFLE
        if session.configuration.elastic and uses_flight:
            # Its files are not partitions of ours, so the pool does not know who holds some.
            session.manager.keep_all_workers(query_id)
        plan = DistributedPhysicalPlan.from_logical_plan_builder(optimized._builder, query_id, fitted)
        references = self._cached_references(session)
        # With the partition sets, else Daft numbers nodes in another way than when it runs the plan.
        physical_plan = plan.repr_json(references)
        return _Planned(optimized, plan, references, physical_plan, find_endless_wait(physical_plan), uses_flight)

    def _run(
        self,
        builder: LogicalPlanBuilder,
        run: QueryRun,
        *,
        ahead: int,
        fetch: bool,
        cut: Cut | None = None,
        before_end: Callable[[], None] | None = None,
    ) -> Generator[K8sMaterializedResult, None, ExecutionMetadata]:
        session = run.session
        session.ensure_open()
        parts = parts_of(session)
        context = get_context()
        query_id = run.query_id
        with contextlib.suppress(AttributeError, ValueError, OSError):  # a program may have no stderr
            emit_query_id(query_id)
        notifications = QueryNotifications(context, query_id, daft.__version__)
        parts.query_folders.begin(query_id)
        stream: ResultStream | None = None
        stats: PyExecutionStats | None = None
        uses_flight = False
        losses_before = parts.flight_losses.count

        objects = session.configuration.trust_workers or holds_objects(builder.schema())

        def make_result(reference: RayPartitionRef) -> K8sMaterializedResult:
            result = K8sMaterializedResult(session, held(reference.object_ref), objects=objects)
            if fetch:
                result.start_fetch()
            return result

        try:
            planned = self._plan(builder, query_id)
            if planned.endless_wait is not None and cut is not None and (unlimited := cut.drop_limit()) is not None:
                planned = self._plan(unlimited, query_id)
            optimized, plan, references, physical_plan, endless_wait, uses_flight = planned
            plan_text = plan.repr_ascii(False)
            refuse_impossible_requests(plan_text, session.configuration)
            refuse_sort_merge_join(physical_plan)
            seen = pod_paths(session.configuration)
            if seen is not None:
                paths = list(find_paths(plan_text))
                seen.require_all(paths)
                parts.credentials.look_at(plan_text, paths)
            refuse_endless_wait(endless_wait)
            notifications.started(builder.schema()._schema, builder.repr_json(), optimized, physical_plan)
            session.manager.begin_query(query_id)
            session.wait_for_worker()
            run.lend(
                [reference.slot_id for reference in _held_references(references)],
                lambda: _held_references(self._cached_references(session)),
            )
            if has_uploads(plan_text):
                run.expect_uploads()
            run.expect(QueryDeterminism(plan_text, uses_flight=uses_flight))
            run.written.expect(plan_text)
            parts.query_runs.begin(run)
            # One plan runner for each query: Daft never frees the CPUs that it has booked in it for tasks
            # of a failed or abandoned query, until no task fits any more. It costs nothing, and the
            # pool knows what workers really do.
            partitions = DistributedPhysicalPlanRunner().run_plan(plan, references)
            stream = ResultStream(session.loop, partitions, make_result, ahead=ahead)
            del partitions, references, planned
            yield from parts.flight_losses.checked(stream, since=losses_before) if uses_flight else stream
            if before_end is not None:
                before_end()
            stats = stream.close()
            notifications.finished()
        except GeneratorExit:
            # The consumer has enough, e.g. show(): for subscribers that is an ordinary end.
            notifications.finished(executed=False)
            raise
        except KeyboardInterrupt:
            notifications.cancelled()
            raise
        except UDFException as error:
            original = error.original_exception
            notifications.failed(f"UDF failed with exception: {text_of(original) if original else original}")
            run.written.annotate(error, run)
            raise
        except BaseException as error:
            notifications.failed(f"General Exception raised: {text_of(error)}")
            lost = parts.flight_losses.explain(error, since=losses_before) if uses_flight else None
            if lost is not None:
                raise lost from error
            if isinstance(error, WorkerLostError) and session.closed:
                raise SessionClosedError("the session was shut down while the query ran") from error
            run.written.annotate(error, run)
            raise
        finally:
            try:
                if stream is not None:
                    stream.close()
            finally:  # also if Ctrl-C breaks off the wait for the stream
                parts.query_runs.end(run)
                _end_query(session, query_id)
                notifications.stop()
        if stats is None:
            raise RuntimeError(f"Daft returned no statistics for query {query_id}")
        return ExecutionMetadata._from_runner_output(stats, query_id, physical_plan)


class _Planned(NamedTuple):
    optimized: LogicalPlanBuilder
    plan: DistributedPhysicalPlan
    references: dict[str, list[RayPartitionRef]]
    physical_plan: str
    endless_wait: str | None
    uses_flight: bool


def _local(parts: list[MicroPartition]) -> LocalPartitionSet:
    partition_set = LocalPartitionSet()
    for number, part in enumerate(parts):
        partition_set.set_partition_from_table(number, part)
    return partition_set


def _held_references(cached: dict[str, list[RayPartitionRef]]) -> Iterator[PartitionRef]:
    for references in cached.values():
        for reference in references:
            if not isinstance(reference.object_ref, GoneReference):
                yield reference.object_ref


def _end_query(session: Session, query_id: str) -> None:
    parts = parts_of(session)
    parts.limit_counters.end_query(query_id)
    parts.query_folders.end(query_id)
    if not session.closed:
        session.manager.end_query(query_id)
