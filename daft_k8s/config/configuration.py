"""The configuration of a session: one immutable object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from daft_k8s.config import machine, options, sizing, validation
from daft_k8s.config.frozen import FrozenMap, freeze
from daft_k8s.config.options import choice, chosen_option, option
from daft_k8s.config.origin import Origin

POOL = "The pool of workers"
SIZE = "The size of a worker"
WAITS = "Waiting and giving up"
DATA = "Data"
SECURITY = "Security"
LOGS = "Logs"
CODE = "Code"
PODS = "Pods"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that can be set. Made by `load`; `Configuration()` is a small local pool.

    Immutable, hashable and picklable. Two are equal if all settings are, wherever those came from.
    Sizes that are not given are chosen when the object is made, so readers always see numbers. Presets are
    applied by `load` alone.
    """

    preset: Literal["development", "production", "high-performance"] = option(
        choice("development", "production", "high-performance"), "development", topic=POOL
    )
    """The set of defaults to start from. Every option can still be set by itself. `development` unless
    asked otherwise, because it works everywhere: it needs no cluster."""

    allocation: Literal["local", "pod", "statefulset"] = option(
        choice("local", "pod", "statefulset"), "local", topic=POOL
    )
    """The kind of workers: processes of this machine (`local`), bare Pods (`pod`), or the Pods of a StatefulSet with
    stable names (`statefulset`). `local` in the preset `development`, `pod` in the others. The value is never
    guessed from a kubeconfig on this machine: a script would start Pods in the cluster that was used last."""

    num_workers: int = chosen_option(options.WORKERS, topic=POOL)
    """The number of workers with which the pool starts, and which it keeps unless it is elastic (`max_workers`). None:
    `min_workers` for an elastic pool. For a fixed pool 2 Pods, or one local worker for each CPU, at most 4, since
    more would only share the machine's memory."""

    min_workers: int | None = option(options.WORKERS_OR_NONE, None, topic=POOL)
    """The size below which an elastic pool never shrinks; 0 lets it vanish while nothing runs.
    None: 1 if `max_workers` is given, so that the next query finds a warm worker."""

    max_workers: int | None = option(options.WORKERS, None, topic=POOL)
    """The size above which the pool never grows; it grows as tasks wait. Local workers share their machine as if all
    were there. None: the pool has a fixed size, `num_workers`."""

    worker_cpu: float = chosen_option(options.CPU, topic=SIZE)
    """CPU cores of one worker. It runs as many tasks at once as it has whole cores, and one if it has
    less. Local workers run whole threads, so a fraction is rounded up for them. None: 1 for a Pod; on this
    machine its CPUs divided between the workers."""

    worker_memory_bytes: int = chosen_option(options.WORKER_MEMORY, topic=SIZE, name="worker_memory")
    """Memory of one worker; a plain number is bytes. Request and limit of a Pod; local workers keep to it by spilling.
    At least 128Mi, as Python with Daft takes most of that by itself. None, for a Pod: 4Gi for each CPU (at least
    1Gi), the ratio of most clouds' machines. None: on this machine three quarters of its memory (or of the control
    group's limit), divided between the workers. The rest is for the driver."""

    worker_gpu: float = option(options.GPU, 0.0, topic=SIZE)
    """GPUs of one worker. Whole for Pods, because Kubernetes hands out nothing smaller. 0: none."""

    gpu_resource_name: str = option(options.RESOURCE_NAME, "nvidia.com/gpu", topic=SIZE, pods_only=True)
    """The extended resource under which nodes offer their GPUs; MIG and time-slicing have names of their
    own, such as `nvidia.com/mig-1g.5gb`."""

    start_timeout_seconds: float = option(options.SECONDS, 120.0, topic=WAITS)
    """The time in which a worker must start, in seconds. A query waits as long for its first worker before it fails
    with the reasons. 120 is enough to pull an image onto an existing node. A node that must be provisioned takes
    longer, so `production` and `high-performance` wait 600."""

    orphan_timeout_seconds: float = option(options.SECONDS, 120.0, topic=WAITS)
    """The time after which a worker that has heard nothing from its driver cleans up and exits, in seconds. 120
    outlives a restart of the API server. Unless it is set, workers wait 900 for a driver outside the cluster, which may
    be a laptop that sleeps. Such a driver waits as long for its workers while the API server is away."""

    unreachable_timeout_seconds: float = option(options.SECONDS, 25.0, topic=WAITS)
    """The time after which a worker that does not answer is lost and its tasks go elsewhere, in seconds. Workers answer
    from a separate thread, busy or not, so 25 is longer than any pause except a lost node or network. The exit of a
    process is noticed at once. A driver outside the cluster reaches workers through the API server: it counts only
    the time in which the API server answers."""

    drain_timeout_seconds: float = option(options.SHORT_SECONDS, 30.0, topic=WAITS)
    """The time that a stopping worker has to finish its tasks, in seconds. 30 is Kubernetes' default grace period. 0:
    tasks are cut off at once."""

    idle_timeout_seconds: float = option(options.SECONDS, 120.0, topic=WAITS)
    """The time after which an idle worker of an elastic pool is removed, in seconds. 120 bridges the pause between two
    queries of a notebook. A worker that holds referenced data is never removed."""

    max_task_attempts: int = option(options.ATTEMPTS, 4, topic=WAITS)
    """Most tries of a task when workers crash under it. 4, as in Spark: a task that has crashed four workers is the
    likely cause. Workers that are taken away (preempted, evicted, told to stop) cost no try. Errors of the user's
    own code are never retried."""

    max_oom_attempts: int = option(options.ATTEMPTS, 2, topic=WAITS)
    """The number of attempts of a task whose worker is killed for its memory. After the first, the task runs alone on a
    worker. 2, because a task that fails alone fits nowhere, and each attempt loses a worker with all the data that
    it holds."""

    max_worker_restarts: int = option(options.RESTARTS, 3, topic=WAITS)
    """The number of times within ten minutes that a worker's process is replaced after it died without finishing a task
    in between. Deaths under a task do not count: `max_task_attempts` bounds them. A worker that dies more often is
    given up until a later query: its image, its memory or its node does not fit. 3 survives a lost node and its
    consequences. 0: never replaced, unless the process dies under a task."""

    recovery_memory_bytes: int = option(options.RECOVERY_BYTES, 256 * 2**20, topic=WAITS, name="recovery_memory")
    """The driver's memory for the records of ended tasks, by which partitions are recomputed that were lost with a
    worker. Beyond it, the oldest are forgotten. 256Mi hold more than 100,000 of tasks with few inputs: 2 KiB each, and
    48 bytes for an input. 0: nothing is recorded or recomputed, and a query that needs what was lost runs again as a
    whole, or fails."""

    queue_ahead: int = option(options.QUEUE, 1, topic=DATA)
    """Tasks that a worker is given beyond those it can run, so that their inputs arrive while it is busy. 1 hides a
    round trip. More makes the work less even at the end of a query, and lets a short task wait behind a long one. 0:
    none."""

    shuffle_partitions: int | None = option(options.PARTITIONS, None, topic=DATA)
    """Partitions that a shuffle makes. None: chosen from the number of tasks that the pool can run at once. Daft's
    fixed 200 is slow on a small pool and too few on a large one. A query's own setting and
    `daft.set_execution_config` take precedence."""

    store_memory_share: float = option(options.SHARE, 0.5, topic=DATA)
    """The share of a worker's memory that partitions kept for others may take before they spill to disk. The
    rest is for running tasks; a half suits joins, whose tables are about as large as their inputs."""

    spill_dir: str | None = option(options.PATH, None, topic=DATA)
    """The folder in which workers make their private spill folders. None: the system's folder for temporary
    files; in a Pod a volume of its own."""

    spill_size_limit_bytes: int | None = option(
        options.SPILL_BYTES, None, topic=DATA, name="spill_size_limit", pods_only=True
    )
    """The size of a Pod's spill volume; Kubernetes evicts a Pod that goes above it. None: what the node
    has."""

    max_message_bytes: int = option(options.MESSAGE_BYTES, 64 * 2**20, topic=DATA)
    """The largest control message (a plan with its constants, a result's statistics) that a worker takes;
    larger ones are refused before they are read. Partitions are not messages and have no such limit. 64Mi is
    far above any plan seen, and little beside a worker's memory."""

    tls: bool = option(options.FLAG, True, topic=SECURITY)
    """If true, control and data are encrypted, with certificates made for the session that both sides must present.
    Encryption costs CPU for each byte of a shuffle (docs/kubernetes.md has the figures), and hardly any for a task.
    Without encryption only the session's token keeps other callers out. Anyone who can read the traffic can then
    read the token, and so can a process that takes the port of a worker that has died."""

    trust_workers: bool = option(options.FLAG, False, topic=SECURITY)
    """If true, workers may run code in the driver: the exceptions of UDFs are unpickled there, with all that they hold,
    and the data that the driver fetches is not validated again. If false, an exception arrives with its class, text and
    plain attributes (docs/security.md). A driver may have rights that its workers do not have."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = option(
        choice("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", topic=LOGS
    )
    """The least important line that workers log."""

    log_format: Literal["text", "json"] = option(choice("text", "json"), "text", topic=LOGS)
    """The form of the workers' logs: lines for people, or JSON with session, query, task and worker for a log store
    (`production` and `high-performance`)."""

    worker_output: bool = option(options.FLAG, True, topic=LOGS)
    """If true, the driver shows on its standard error the lines that workers print and log, each with its worker's
    name. For Pods, at most 1 MiB a second for all workers together. The driver reports the number of lines left out,
    and the Pods' logs hold all of them."""

    event_log: str | None = option(options.LOG_FOLDER, None, topic=LOGS)
    """The folder into which the driver writes its session's event log: each query, task, attempt and worker with its
    times and causes, as lines of JSON (docs/event-log.md). A path on the driver's machine or Pod, or a URI, for which
    the environment has the credentials. A relative path starts at the file that holds it. None: no log is written."""

    metrics_port: int | None = option(options.PORT, None, topic=LOGS)
    """The port at which the driver serves its session's metrics for Prometheus, with `/healthz` and `/readyz` beside
    `/metrics` (docs/metrics.md): on the loopback address, in a Pod on the Pod's. 0: any free port, which the log names.
    Needs `pip install 'daft_k8s[metrics]'`. None: no port is opened."""

    working_dir: str = option(options.CODE_FOLDER, "auto", topic=CODE)
    """The code that tasks import, besides installed packages. `auto`: the Python modules of the script's folder.
    `none`: nothing is shipped. A folder or an archive, here or behind a URI: all its files. Tasks in Pods run in a
    copy of it, which `DAFT_WORKING_DIR` names to UDFs. `local://` and an absolute path: a folder of the workers'
    image. `auto` has no effect for local workers, as they import from the driver's folders. A relative path starts
    at the file that holds it."""

    code_size_limit_bytes: int = option(options.CODE_BYTES, 100 * 2**20, topic=CODE, name="code_size_limit")
    """The largest code that is shipped, before compression. Every worker holds it once on its spill volume, the driver
    in memory. 100Mi is far above any code, and below most data sets that lie beside a script by mistake."""

    pip: tuple[str, ...] = option(options.REQUIREMENTS, (), topic=CODE)
    """Packages that every worker installs with pip when it starts, onto its spill volume. Settings of pip itself, such
    as PIP_INDEX_URL, go into `env`. Permanent packages belong in the image: each start waits for pip."""

    env: FrozenMap[str] = option(options.ENVIRONMENT, FrozenMap(), topic=PODS, secret=True)
    """Environment variables of workers, local ones included. Their values are never shown or logged. All accounts that
    may read Pods can read them in a Pod's spec. So credentials belong into `pass_env`, or in a Secret that the
    `pod_template` refers to."""

    pass_env: tuple[str, ...] = option(options.VARIABLE_PATTERNS, (), topic=PODS, pods_only=True)
    """Variables of the driver's environment that workers get as well, such as `AWS_*`: names, or beginnings with a `*`.
    They travel in the session's Secret and stand in no Pod's spec; `daft-k8s run` takes them along from the machine
    that it is called on. What `env` sets goes before. A file that a variable names stays where it is."""

    namespace: str | None = option(options.NAMESPACE, None, topic=PODS, pods_only=True)
    """The namespace for workers. None: the driver Pod's own, or the one of the kubeconfig's context."""

    kube_context: str | None = option(options.KUBE_CONTEXT, None, topic=PODS, pods_only=True)
    """The context of the kubeconfig (KUBECONFIG, else `~/.kube/config`) by which the driver reaches the
    cluster, through port-forwards. None: in a Pod its own cluster, elsewhere the kubeconfig's current context."""

    image: str | None = option(options.IMAGE, None, topic=PODS, pods_only=True)
    """The image of workers; its Daft and its Python minor version must be the driver's. None: the driver
    Pod's own image, which always fits. A driver outside the cluster must set it."""

    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = option(
        choice("IfNotPresent", "Always", "Never"), "IfNotPresent", topic=PODS, pods_only=True
    )
    """When nodes pull the image. `IfNotPresent`, as a start then needs no registry."""

    image_pull_secrets: tuple[str, ...] = option(options.OBJECT_NAMES, (), topic=PODS, pods_only=True)
    """Names of the Secrets with which the image is pulled."""

    service_account: str | None = option(options.OBJECT_NAME, None, topic=PODS, pods_only=True)
    """The service account of workers, for access to a cloud's storage. They never get a token for
    Kubernetes itself. None: the namespace's `default`."""

    node_selector: FrozenMap[str] = option(options.NODE_SELECTOR, FrozenMap(), topic=PODS, pods_only=True)
    """Labels that a node must have to run a worker."""

    tolerations: tuple[FrozenMap[object], ...] = option(options.TOLERATIONS, (), topic=PODS, pods_only=True)
    """Taints of nodes that workers tolerate, as in a Pod's manifest."""

    priority_class: str | None = option(options.OBJECT_NAME, None, topic=PODS, pods_only=True)
    """The PriorityClass of workers. None: the cluster's default."""

    labels: FrozenMap[str] = option(options.LABELS, FrozenMap(), topic=PODS, pods_only=True)
    """Further labels of worker Pods."""

    annotations: FrozenMap[str] = option(options.ANNOTATIONS, FrozenMap(), topic=PODS, pods_only=True)
    """Further annotations of worker Pods."""

    pod_template: FrozenMap[object] | None = option(options.POD_TEMPLATE, None, topic=PODS, pods_only=True, secret=True)
    """Metadata and spec that are merged over the Pod that the runner makes, for settings that have no option of their
    own: volumes, sidecars, affinity. None: nothing is merged."""

    shared_paths: tuple[str, ...] = option(options.SHARED_PATHS, (), topic=PODS, pods_only=True)
    """Folders in which worker Pods see the same files as the driver, or files that are in the workers' image. Paths of
    other folders are refused before a query runs, as a Pod's disk is not the driver's and goes with the Pod. Volumes
    that `pod_template` mounts need no entry here, save for those that belong to one Pod alone (emptyDir)."""

    origins: FrozenMap[Origin] = dataclasses.field(default=FrozenMap(), compare=False, repr=False)
    """The origin of each option's value, by the option's name; empty if the object was made by hand."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, freeze(getattr(self, field.name)))
        if not validation.sizes_are_sound(self):
            return  # Nothing can be chosen from them; `validate` says what is wrong.
        if self.max_workers is not None and self.min_workers is None:
            object.__setattr__(self, "min_workers", 1)
        size = self._size()
        for field in dataclasses.fields(size):
            object.__setattr__(self, field.name, getattr(size, field.name))

    def validate(self) -> None:
        """Checks every field and every rule between fields.

        Raises:
            daft_k8s.errors.ConfigurationError: Something is wrong; the message lists all mistakes, each with
                the accepted values and where the value came from.
        """
        validation.validate(self)

    def ignored(self) -> tuple[str, ...]:
        """Options that were set but have no effect on local workers, to warn about."""
        return validation.ignored_options(self)

    @property
    def elastic(self) -> bool:
        """True if the pool grows and shrinks with the work."""
        return self.max_workers is not None

    @property
    def most_workers(self) -> int:
        """The largest number of workers at the same time."""
        return self.num_workers if self.max_workers is None else self.max_workers

    @property
    def slots_per_worker(self) -> int:
        """Tasks that one worker runs at once: its whole cores, at least one."""
        return max(1, int(self.worker_cpu))

    @property
    def store_memory_bytes(self) -> int:
        """Bytes of a worker's memory for partitions that are kept for others."""
        return int(self.worker_memory_bytes * self.store_memory_share)

    def _size(self) -> sizing.Size:
        if self.allocation == "local":
            return sizing.local_size(
                num_workers=self.num_workers,
                min_workers=self.min_workers,
                max_workers=self.max_workers,
                worker_cpu=self.worker_cpu,
                worker_memory_bytes=self.worker_memory_bytes,
                cpus=machine.available_cpus(),
                memory_bytes=machine.available_memory_bytes(),
            )
        return sizing.pod_size(
            num_workers=self.num_workers,
            min_workers=self.min_workers,
            max_workers=self.max_workers,
            worker_cpu=self.worker_cpu,
            worker_memory_bytes=self.worker_memory_bytes,
        )
