"""One engine: a process with one runner that answers pipelines until its input ends.

    python -m tests.differential.engine native|k8s|ray [options of set_runner_k8s as JSON]

A pipeline that is None asks for the state of the session. Pickles come and go with their length before them.
Whatever else is printed goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

LENGTH_BYTES = 8
SMALL_SCANS = {"scan_tasks_min_size_bytes": 1, "scan_tasks_max_size_bytes": 1}
"""One task for each file, however small."""

WORKERS = {"num_workers": 2, "worker_cpu": 1, "worker_memory": "512Mi", "shuffle_partitions": 3}


def send(file: BinaryIO, value: object) -> None:
    data = pickle.dumps(value)
    file.write(len(data).to_bytes(LENGTH_BYTES, "little") + data)
    file.flush()


def receive(file: BinaryIO) -> Any:
    """The next value.

    Raises:
        EOFError: If there is none.
    """
    data = file.read(int.from_bytes(_exactly(file, LENGTH_BYTES), "little"))
    return pickle.loads(data)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _set_runner(name: str, options: dict[str, Any]) -> Any:
    import daft

    if name == "native":
        daft.set_runner_native()
        return None
    session = None
    if name == "k8s":
        import daft_k8s

        session = daft_k8s.set_runner_k8s(**{**WORKERS, **options})
        session.manager.wait_ready(session.configuration.num_workers, 60)
    else:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
        daft.set_runner_ray()
        daft.set_execution_config(shuffle_algorithm="map_reduce", shuffle_aggregation_default_partitions=3)
    daft.set_execution_config(**SMALL_SCANS)
    return session


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import daft

    from tests.differential.building import answer

    session = _set_runner(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        send(replies, "ready")
        while True:
            try:
                pipeline, whole = receive(sys.stdin.buffer)
            except EOFError:
                break
            if pipeline is None:
                gc.collect()
                pool = session.snapshot()
                held = {worker.worker_id: worker.holds for worker in pool.workers if worker.holds}
                send(replies, (pool.unfinished_tasks, held))
                continue
            algorithm = pipeline.algorithm if sys.argv[1] != "native" else None
            config = daft.execution_config_ctx(shuffle_algorithm=algorithm) if algorithm else nullcontext()
            try:
                with config, tempfile.TemporaryDirectory(dir=folder) as own:
                    reply: object = answer(pipeline, Path(own), whole=whole)
            except Exception as error:
                reply = (type(error).__name__, str(error))
            except BaseException as error:
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                reply = (type(error).__name__, str(error))  # a panic of Daft's extension is no Exception
            send(replies, reply)


if __name__ == "__main__":
    main()
