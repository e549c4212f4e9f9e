"""The classes that the Rust core offers to Python.

The extension knows nothing of Daft: partitions cross this border as Arrow C arrays, batch by
batch; plans, task payloads, statistics and errors as bytes. Every call that may block releases the GIL. Callbacks are
always delivered with `loop.call_soon_threadsafe`, so they run on the event loop that was given.
"""

from collections.abc import Callable, Sequence
from logging import Logger
from typing import ClassVar, Protocol, final

from typing_extensions import Self

from daft_k8s.driver.actor_request import PoolRequest
from daft_k8s.driver.setup import DriverSetup
from daft_k8s.worker.setup import WorkerSetup

__all__ = [
    "PROTOCOL_VERSION",
    "ActorCommand",
    "ActorFailure",
    "ArrowBatch",
    "ArrowStream",
    "Fact",
    "FactKind",
    "JournalSnapshot",
    "K8sTaskResultHandle",
    "K8sWorker",
    "K8sWorkerManager",
    "MemorySnapshot",
    "PartitionRef",
    "PoolSnapshot",
    "SessionCertificates",
    "TaskCommand",
    "TaskOutcome",
    "WorkerCall",
    "WorkerServer",
    "WorkerSnapshot",
    "flush_log",
    "log_to",
]

PROTOCOL_VERSION: int

def log_to(logger: Logger) -> None:
    """Has the extension log to this logger from now on, with fields such as `worker` and `launch` in `extra`.

    Records are written on a thread of their own. A level that is changed counts from the next record or query on.
    """

def flush_log(timeout_seconds: float = 1.0) -> bool:
    """Waits (GIL released) until all that was logged so far is written; returns False after the time-out."""

class SupportsArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class SupportsArrowSchema(Protocol):
    def __arrow_c_schema__(self) -> object: ...

class SupportsArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class ArrowBatch:
    """A record batch as an Arrow C array of structs."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class ArrowStream:
    """One partition as an Arrow C stream. May be consumed once, in whichever way; then ValueError is raised."""

    num_rows: int
    size_bytes: int
    num_batches: int
    @staticmethod
    def of_batches(schema: SupportsArrowSchema, batches: Sequence[SupportsArrowArray]) -> ArrowStream:
        """A stream of record batches, all of one schema. Raises ValueError if they are not."""

    def take_batches(self) -> list[ArrowBatch]:
        """Consumes the stream for its record batches."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

# ------------------------------------------------------------------------------------- driver

@final
class SessionCertificates:
    """The certificates that prove the members of one session to each other. The signing key is forgotten."""

    driver_files: dict[str, bytes]
    worker_files: dict[str, bytes]  # PEM: "ca.crt", "tls.crt" and "tls.key", as the worker's `tls_dir` must have them
    def __new__(cls, session_id: str) -> Self: ...

@final
class PartitionRef:
    """A partition that lives in a worker's store, or in the driver's own memory.

    When the last copy is garbage collected, the partition is dropped where it lives (batched).
    """

    num_rows: int
    size_bytes: int
    slot_id: str  # "<task>:<slot>"; unique in the session
    is_at_hand: bool  # the driver has the data: to read it takes no worker
    worker_id: str | None  # None: the driver has the data, or no longer knows where it is
    is_lost: bool  # its worker's process was lost, and with it the data
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class TaskOutcome:
    """The outcome of a task.

    `kind` is one of
    - "success": `partitions` and `stats` are set;
    - "failed": the task's own code raised; `error` is what the worker pickled (may be empty),
      `message` its text with the worker's traceback;
    - "lost": the infrastructure failed more often than the retry caps allow, or inputs were lost;
      `message` says which worker, why, and how often it was tried; `loss` is one of
      `daft_k8s.errors.Loss`, by which the owner decides what can be tried again;
    - "cancelled".
    """

    kind: str
    loss: str
    partitions: list[PartitionRef]
    stats: bytes
    error: bytes
    message: str
    worker_id: str

@final
class K8sTaskResultHandle:
    def add_done_callback(self, callback: Callable[[TaskOutcome], None]) -> None:
        """Calls `callback(outcome)` on the event loop once the task has ended (at once if it has)."""

    was_sent: bool  # to a worker, at least once: the task may have had an effect
    def cancel(self) -> None:
        """Best effort, never raises, never blocks; the outcome becomes "cancelled"."""

@final
class K8sWorker:
    """A logical worker: its id outlives the processes (incarnations) that stand behind it."""

    worker_id: str
    def submit(
        self,
        *,
        query_id: str,
        task_id: int,
        name: str,
        plan: bytes,
        payload: bytes,
        inputs: Sequence[tuple[int, Sequence[PartitionRef]]],
        determinism: str,
    ) -> K8sTaskResultHandle:
        """Queues a task; returns at once and never raises for what a worker or network does.

        The pool sends it to this worker if it is ready, else to another, else keeps it until one
        is. `inputs` are (source id, partitions in order). Plans travel by content hash. `determinism` ("deterministic",
        "deterministic_whole", "order_dependent" or "unrepeatable") decides if lost outputs may be recomputed.
        """

@final
class WorkerCall:
    """A call of a worker to its driver, e.g. the LIMIT counter. Answer exactly once."""

    worker_id: str
    target: str
    payload: bytes
    def reply(self, payload: bytes) -> None: ...
    def fail(self, message: str) -> None: ...

class LauncherProtocol(Protocol):
    """The pool's requests to an allocator. Called on the event loop; must not block.

    The allocator answers with `worker_started`, `worker_exited` of the manager.
    """

    def launch(self, worker_id: str, launch_id: int) -> None: ...
    def stop(self, worker_id: str, launch_id: int, reason: str) -> None: ...
    def kill(self, worker_id: str, launch_id: int, reason: str) -> None: ...

@final
class WorkerSnapshot:
    """A logical worker at one moment."""

    worker_id: str
    phase: str  # as `WorkerPhase` of the core names it, e.g. "Ready"
    launch: int  # its latest process; 0 before the first
    incarnation: str | None
    control_address: str | None
    data_address: str | None
    peer_address: str | None  # of its data server, for other workers
    tasks: int
    holds: int  # partitions and actors that must not be lost with it
    restarts: int  # that count against its budget
    last_loss: str | None
    waits_for: str | None  # the thing that its launch waits for, if it is postponed

@final
class PoolSnapshot:
    """The pool at one moment, and the sizes of what the driver keeps."""

    session_id: str
    min_workers: int
    max_workers: int
    alive_workers: int  # up or coming up
    ready_workers: int
    unfinished_tasks: int  # at workers or not
    kept: dict[str, int]
    inline_bytes: int
    workers: list[WorkerSnapshot]  # those that are wanted or still drain

@final
class FactKind:
    """The kinds of facts. Each sets the fields of `Fact` that its line names."""

    QUERY_BEGAN: ClassVar[FactKind]  # query_id
    QUERY_ENDED: ClassVar[FactKind]  # query_id
    TASK_SUBMITTED: ClassVar[FactKind]  # task, query_id
    TASK_SENT: ClassVar[FactKind]  # task, attempt, worker_id, launch
    ATTEMPT_REFUSED: ClassVar[FactKind]  # as before, reason: the worker did not take it, and the task is tried again
    INPUTS_MISSING: ClassVar[FactKind]  # task, attempt, worker_id, launch: inputs could not be read
    ATTEMPT_LOST: ClassVar[FactKind]  # as before, exit_cause, count: the attempts that it used up (0 or 1)
    TASK_SUCCEEDED: ClassVar[FactKind]  # task, attempt, worker_id, launch, count: the partitions that were published
    TASK_FAILED: ClassVar[FactKind]  # task, attempt, worker_id, launch: the task's own code failed
    TASK_LOST: ClassVar[FactKind]  # task, loss, reason: the infrastructure failed it
    TASK_CANCELLED: ClassVar[FactKind]  # task
    WORKER_LAUNCHED: ClassVar[FactKind]  # worker_id, launch
    WORKER_POSTPONED: ClassVar[FactKind]  # worker_id, launch, reason: there is no room for it yet
    WORKER_READY: ClassVar[FactKind]  # worker_id, launch
    WORKER_RELEASED: ClassVar[FactKind]  # worker_id, launch, reason: an elastic pool does not need it
    WORKER_LOST: ClassVar[FactKind]  # worker_id, launch, reason: a process that was ready is gone
    WORKER_REPLACED: ClassVar[FactKind]  # worker_id, launch, reason, count: cancelled tasks that hold its slots
    PROCESS_ENDED: ClassVar[FactKind]  # worker_id, launch, exit_cause, reason: whether it was ready or not
    SLOTS_LOST: ClassVar[FactKind]  # worker_id, launch, count: partitions that were lost with it
    POOL_GROWN: ClassVar[FactKind]  # count: the workers that an elastic pool adds
    POOL_UNAVAILABLE: ClassVar[FactKind]  # reason: no worker can come up any more
    DEFECT: ClassVar[FactKind]  # reason: a defect of the session

@final
class Fact:
    """One thing that happened in the session. Fields that its kind does not set are None."""

    sequence: int  # its number in the journal; facts are not numbered without gaps
    at_seconds: float  # since the session's start
    cause: int  # the number of the event or timer that led to it; its own, if it is that event
    cause_name: str | None  # of that event or timer, as the core names it, e.g. "Exited"; None: it was dropped
    kind: FactKind
    query_id: str | None
    task: int | None  # as the session numbers tasks
    attempt: int | None
    worker_id: str | None
    launch: int | None
    count: int | None
    exit_cause: str | None  # one of `daft_k8s.pool_news.ExitCause`
    loss: str | None  # one of `daft_k8s.errors.Loss`
    reason: str | None  # for people

@final
class JournalSnapshot:
    """The facts after a certain entry of the journal."""

    facts: list[Fact]  # oldest first
    read_to: int  # the last entry that was read; `facts_since` goes on from there
    missed: int  # entries that were dropped before they could be read
    is_complete: bool  # False: there are more to read
    now_seconds: float  # since the session's start

@final
class ActorFailure:
    """The reason why a pool of actors did not start.

    `kind` is one of
    - "constructor": `actor` says which, and where; `error` is the pickled exception (empty: it raised none);
    - "not_started": no actor came up, for want of room, workers or time;
    - "ended": the pool was ended first;
    - "closed": the session was shut down.
    """

    kind: str
    actor: str
    reason: str
    error: bytes

@final
class K8sWorkerManager:
    """The driver's end of a session: the pool of workers and every connection to them."""

    def __new__(cls, setup: DriverSetup) -> Self: ...
    def set_desired_workers(self, count: int) -> None:
        """Asks for workers `worker-0` .. `worker-<count-1>`; missing ones are launched at once."""

    def set_worker_range(self, min_count: int, start_count: int, max_count: int) -> None:
        """Asks for `start_count` workers at once, and then for as many as there is work for, between the bounds."""

    def keep_all_workers(self, query_id: str) -> None:
        """No worker of an elastic pool is let go until `end_query`: it keeps what no PartitionRef tells of."""

    def workers(self) -> list[K8sWorker]:
        """All logical workers that there may be, whether they have a process or not."""

    def wait_ready(self, count: int, timeout_seconds: float) -> int:
        """Blocks (GIL released, signals checked) until `count` workers are ready; returns how many are.

        An elastic pool that has none starts one.

        Raises RuntimeError with the launcher's reasons once no further worker can come up.
        """

    def ready_count(self) -> int: ...
    def worker_started(
        self,
        worker_id: str,
        launch_id: int,
        control_address: str,
        data_address: str,
        peer_address: str | None = None,
    ) -> None:
        """The allocator's news: a process listens at these `host:port` addresses.

        The driver reaches it at the first two, other workers its data at `peer_address` (None: at `data_address` too).
        """

    def worker_exited(
        self, worker_id: str, launch_id: int, reason: str, restartable: bool, cause: str = "crash"
    ) -> None:
        """The allocator's news: that process is gone, or never came; `reason` is for people.

        `cause` is one of `daft_k8s.pool_news.ExitCause`; another one raises ValueError.
        """

    def worker_leaving(self, worker_id: str, launch_id: int) -> None:
        """The allocator's report: others stop that process. It gets no more tasks."""

    def worker_postponed(self, worker_id: str, launch_id: int, reason: str) -> None:
        """The allocator's news: it has no room for that process yet, and asks again until it has, or is to stop."""

    def worker_admitted(self, worker_id: str, launch_id: int) -> None:
        """The allocator's news: there was room for a process that was postponed. Its start begins now."""

    def put(self, data: SupportsArrowStream, num_rows: int, size_bytes: int) -> PartitionRef:
        """Keeps a partition in the driver; workers are given it when a task needs it."""

    def fetch(self, refs: Sequence[PartitionRef], timeout_seconds: float | None = None) -> list[ArrowStream]:
        """Blocks (GIL released, signals checked) until the partitions are here, in order.

        Raises LookupError if one was lost or dropped, ConnectionError, TimeoutError.
        """

    def fetch_async(
        self, refs: Sequence[PartitionRef], callback: Callable[[list[ArrowStream] | None, Exception | None], None]
    ) -> None: ...
    def begin_query(self, query_id: str) -> None:
        """Notes in the journal that a query begins, to which pools of actors that start from now on may belong."""

    def end_query(self, query_id: str) -> None:
        """Cancels what still runs of a query, ends its actors and lets workers forget its plans. Never raises."""

    def start_actors(
        self,
        request: PoolRequest,
        specs: Sequence[bytes],
        callback: Callable[[list[str] | None, ActorFailure | None], None],
    ) -> str:
        """Starts a pool of actors and returns its id at once; `specs` are the parts of each actor, or one for all.

        `callback(actor_ids, failure)` is called once, with the actors that the pool goes on with, or the reason why
        there are none. Raises ValueError if the request makes no sense, and RuntimeError if no worker could ever host
        an actor.
        """

    def actor_news(
        self, worker_id: str, actor_id: str, generation: int, event: str, address: str, reason: str, error: bytes
    ) -> None:
        """A worker's news of one of its actors; `event` is "ready", "killed", "late" or "failed"."""

    def find_actor(
        self,
        pool_id: str,
        actor_id: str | None,
        failed: Sequence[tuple[str, int]],
        callback: Callable[[tuple[str, int, str, str] | None, str | None], None],
    ) -> None:
        """Finds the place that a call goes to; another actor than `actor_id` will do if the pool is stateless.

        `callback(place, problem)` is called once: with an actor, its generation, its worker and the address of that, or
        with the reason why there is none, and will be none. `failed` are the places that were tried for this call.
        """

    def is_actor_at(self, actor_id: str, generation: int) -> bool:
        """True if the actor takes calls and still is at the place of this generation."""

    def ready_actors(self, pool_id: str) -> list[str] | None:
        """The actors of a pool that take calls; None if the pool has ended."""

    def bind_actors(self, query_id: str, pool_ids: Sequence[str]) -> None:
        """A task of this query uses these pools: they end with the query, and not before `release_actors`."""

    def release_actors(self, pool_ids: Sequence[str]) -> None:
        """A task that used these pools has ended."""

    def retire_actors(self, pool_id: str) -> None:
        """The pool's actors make room for others once no task is left to call them."""

    def end_actors(self, pool_id: str) -> None:
        """Ends a pool for good."""

    def status(self) -> PoolSnapshot: ...
    def facts_since(self, sequence: int) -> JournalSnapshot:
        """The facts after that entry of the journal, some thousand entries at once; 0: from the beginning.

        The journal has room for so many entries and bytes. It drops the oldest, and tells a reader that came too late.
        """

    def shutdown(self, timeout_seconds: float) -> None:
        """Asks every worker to stop, fails what is in flight, closes all connections. Idempotent.

        Afterwards the launcher still has to reap its processes.
        """

# ------------------------------------------------------------------------------------- worker

@final
class TaskCommand:
    """A task whose inputs are here and for which a slot is free."""

    key: str  # "<query id>/<task id>.<attempt>"
    query_id: str
    task_id: int
    attempt: int
    name: str
    plan_hash: str
    plan: bytes
    payload: bytes
    inputs: list[tuple[int, list[ArrowStream]]]

@final
class ActorCommand:
    """A request of the driver or of another worker to the actors of this worker."""

    kind: str  # "start", "stop" or "call"
    actor_id: str
    generation: int  # of a start; of a stop: the last one that is meant
    gpu_devices: list[int]  # of a start: indices of the worker's GPUs that the actor may use
    payload: bytes  # what it is made of, nothing, or the call
    def reply(self, payload: bytes) -> None:
        """Answers a call; does nothing if it was answered."""

    def fail(self, message: str) -> None:
        """Tells the caller that the call was not begun here."""

@final
class MemorySnapshot:
    """The memory of a worker at one moment, in bytes, and what its store holds."""

    memory_bytes: int  # that the worker may use
    resident_bytes: int
    store_bytes: int
    spilled_bytes: int
    partitions: int
    level: str  # "Normal", "Warn", "Spill" or "Refuse"

@final
class WorkerServer:
    """The gRPC control server, the Flight data server and the partition store of one worker process."""

    instance_id: str
    control_address: str
    data_address: str
    health_address: str | None

    def __new__(cls, setup: WorkerSetup) -> Self:
        """Binds its ports (0: any) and serves; raises OSError if it cannot, ValueError for wrong certificates.

        With the certificates of `tls_dir`, control takes only the session's driver and data only its members. On
        `health_port` every caller may ask for health, and nothing else. Health answers NOT_SERVING until `set_serving`.
        """

    def set_serving(self) -> None: ...
    def put_output(self, key: str, pieces: Sequence[SupportsArrowStream], num_rows: int, size_bytes: int) -> None:
        """Appends one output partition (its pieces are kept as they are, without a copy) to a running task.

        Not visible to anyone until `finish_task`.
        """

    def finish_task(self, key: str, stats: bytes) -> None:
        """Publishes all outputs of the task at once and frees its slot."""

    def fail_task(self, key: str, error: bytes, message: str) -> None:
        """Discards the task's outputs, reports it as failed and frees its slot."""

    def cancelled_task(self, key: str) -> None:
        """Discards the task's outputs, reports it as cancelled and frees its slot."""

    def call_driver(self, target: str, payload: bytes, callback: Callable[[bytes | None, str | None], None]) -> None:
        """Calls the driver over the stream that it opened; `callback(payload, None)` or `callback(None, error)`."""

    def call_peer(
        self, address: str, actor_id: str, payload: bytes, callback: Callable[[bytes | None, str | None], None]
    ) -> None:
        """Calls an actor of the worker at this control address; `callback` as for `call_driver`."""

    def set_stuck(self, slots: int, calls: str) -> None:
        """Tells the driver how many slots are held by calls of cancelled tasks; `calls` is for people."""

    def begin_drain(self) -> None:
        """Refuses new tasks from now on; Health turns NOT_SERVING."""

    def running_tasks(self) -> int: ...
    def memory_status(self) -> MemorySnapshot: ...
    def shutdown(self) -> None:
        """Closes both servers and removes the spill directory. Idempotent."""
