"""Plans bring no room of the driver along: each handle is unpickled where none can be imported.

Not covered: what real plans hold, and what workers load then (tests/local/test_plans_in_workers.py).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import daft
import pytest
from daft.execution.key_filtering_join.actors import KeySpec
from daft.pickle import dumps

from daft_k8s.handles import file_moves
from daft_k8s.handles.actors import ActorHandle, EnginePool, collect_pickled_pools
from daft_k8s.handles.key_filter import ingest_function, keep_function
from daft_k8s.handles.pod_paths import PodPaths
from daft_k8s.handles.upload_check import check_locations
from daft_k8s.path_rules import PodFolder
from daft_k8s.seam.actors import DriverActorHandle
from daft_k8s.seam.limit import DriverLimitHandle
from daft_k8s.seam.limit_counter import LimitCounter
from daft_k8s.seam.llm import LLMActors

WORKER = """
import importlib.abc, json, pickle, sys
DRIVER = {"daft_k8s." + name for name in json.loads(sys.argv[1])}
class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname in DRIVER:
            raise ImportError(f"a plan imports {fullname}")
sys.meta_path.insert(0, Gate())
from daft_k8s.worker.daft_variables import daft_variables
import os
with daft_variables(os.environ):
    import daft
    from daft.pickle import loads
print(type(loads(sys.stdin.buffer.read())).__name__)
print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("daft_k8s.")}))
"""
DRIVERS_ROOMS = ["_autostart", "allocation", "api", "cli", "config", "doctor", "driver", "jobs", "kube", "seam"]


class Pools:
    def retire(self, pool_id: str) -> None: ...


def engines() -> LLMActors:
    made: Any = LLMActors.__new__(LLMActors)
    made.pool_id, made._pools = "pool", Pools()
    handle: LLMActors = made
    return handle


async def limit() -> DriverLimitHandle:
    return DriverLimitHandle("counter", LimitCounter(1, 0), lambda counter_id: None)


def actor() -> DriverActorHandle:
    pools: Any = Pools()
    return DriverActorHandle("pool", "pool/0", pools)


HANDLES: dict[str, Callable[[], Any]] = {
    "LimitCounterHandle": lambda: asyncio.run(limit()),
    "ActorHandle": actor,
    "EnginePool": engines,
    "Expression of new keys": lambda: ingest_function([actor()], KeySpec(["id"]))(daft.col("id")),
    "Expression of kept keys": lambda: keep_function([actor()], KeySpec(["id"]))(daft.col("id")),
    "Expression of checked uploads": lambda: check_locations(
        daft.col("to"), PodPaths((PodFolder("/data", True, True),))
    ),
    "Expression of moves": lambda: file_moves.moved(daft.col("moves")),
}
"""By the name of the class that a worker gets."""


@pytest.mark.parametrize("name", list(HANDLES))
def test_a_handle_comes_alive_where_no_room_of_the_driver_can_be_imported(name: str) -> None:
    pickled = dumps(HANDLES[name]())
    command = [sys.executable, "-c", WORKER, json.dumps(DRIVERS_ROOMS)]
    done = subprocess.run(command, input=pickled, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    kind, rooms = done.stdout.decode().splitlines()
    assert kind == name.split(" ")[0]
    allowed = {"_native", "addresses", "boot", "errors", "handles", "path_rules", "printable", "wire", "worker"}
    assert set(rooms.split()) <= allowed


def test_pickling_a_handle_tells_which_pools_a_plan_uses() -> None:
    with collect_pickled_pools() as used:
        dumps([ActorHandle("one", "one/0"), EnginePool("two")])
        dumps(keep_function([actor()], KeySpec(["id"]))(daft.col("id")))
    assert used == {"one", "two", "pool"}
