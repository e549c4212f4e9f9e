"""What Daft offers around a query (subscribers, ids, iteration, torch, native extensions), to be run by any runner.

Run as a program: `feature_scenarios.py RUNNER EXTENSION` prints one JSON object, feature -> answer. EXTENSION is the
library made from extension.c, or empty where there is no compiler.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import daft
from daft import DataFrame, col
from daft.subscribers import Subscriber

LIFECYCLE = (
    "QueryStarted",
    "OptimizationStarted",
    "OptimizationCompleted",
    "ExecutionStarted",
    "ExecutionFinished",
    "QueryFinished",
)


@daft.func
def fail(value: int) -> int:
    raise ValueError("the user's own words")


def numbers() -> DataFrame:
    return daft.range(1000, partitions=5).with_column("double", col("id") * 2)


class Listener(Subscriber):
    """Keeps the life of queries, and which operators have begun and ended."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_event(self, event: Any) -> None:  # type: ignore[override]
        self.events.append(event)


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()
    daft.context.attach_subscriber("listener", listener)
    try:
        yield listener
    finally:
        daft.context.detach_subscriber("listener")


def life(listener: Listener) -> list[str]:
    return [name for event in listener.events if (name := type(event).__name__) in LIFECYCLE]


def a_query_that_ends_well() -> Any:
    return [
        _end_of(lambda: numbers().where(col("id") < 10).to_pydict()),
        _end_of(lambda: list(numbers().limit(7).iter_rows())),
    ]


def _end_of(query: Callable[[], object]) -> Any:
    with listening() as listener:
        query()
    started = [type(event).__name__ for event in listener.events].count("OperatorStarted")
    ended = [type(event).__name__ for event in listener.events].count("OperatorFinished")
    (plan,) = [event.physical_plan for event in listener.events if type(event).__name__ == "ExecutionStarted"]
    return [
        life(listener),
        len({event.query_id for event in listener.events}),
        started == ended > 0,
        isinstance(json.loads(plan), dict),
        [str(event.result.end_state) for event in listener.events if type(event).__name__ == "QueryFinished"],
    ]


def a_query_that_fails() -> Any:
    with listening() as listener, contextlib.suppress(Exception):
        numbers().with_column("failed", fail(col("id"))).to_pydict()
    (end,) = [event.result for event in listener.events if type(event).__name__ == "QueryFinished"]
    return [life(listener)[0], life(listener)[-1], str(end.end_state), "the user's own words" in str(end.error_message)]


def queries_have_ids_of_their_own() -> Any:
    output = io.StringIO()
    os.environ["DAFT_SHOW_QUERY_ID"] = "1"
    with listening() as listener, contextlib.redirect_stderr(output):
        for _ in range(3):
            numbers().count_rows()
    del os.environ["DAFT_SHOW_QUERY_ID"]
    printed = [line.rpartition(" ")[2] for line in output.getvalue().splitlines() if "Query ID" in line]
    told = [event.query_id for event in listener.events if type(event).__name__ == "QueryStarted"]
    return [printed == told, len(set(told))]


def iter_partitions() -> Any:
    parts = list(numbers().iter_partitions())
    ids = sorted(id for part in parts for id in part.to_pydict()["id"])
    buffered = sum(len(part) for part in numbers().iter_partitions(results_buffer_size=1))
    collected = sum(len(part) for part in numbers().collect().iter_partitions())
    return [ids == list(range(1000)), type(parts[0]).__name__, buffered, collected]


def to_arrow_iter() -> Any:
    batches = list(numbers().to_arrow_iter())
    ids = sorted(id for batch in batches for id in batch["id"].to_pylist())
    collected = sum(batch.num_rows for batch in numbers().collect().to_arrow_iter(results_buffer_size=1))
    empty = sum(batch.num_rows for batch in numbers().where(col("id") < 0).to_arrow_iter())
    return [ids == list(range(1000)), type(batches[0]).__name__, str(batches[0].schema), collected, empty]


def torch_datasets() -> Any:
    _stand_in_for_torch()
    by_place = numbers().sort("id").to_torch_map_dataset()
    by_turn = numbers().to_torch_iter_dataset()
    rows = sorted(row["double"] for row in by_turn)
    again = sum(1 for _ in numbers().collect().to_torch_iter_dataset())
    return [len(by_place), by_place[7], by_place[999], rows == list(range(0, 2000, 2)), again]


def _stand_in_for_torch() -> None:
    """Daft takes no more of torch for datasets than two classes to inherit from."""
    if importlib.util.find_spec("torch") is not None:
        return
    torch, utils, data = (types.ModuleType(name) for name in ("torch", "torch.utils", "torch.utils.data"))
    vars(data).update(Dataset=object, IterableDataset=object)
    vars(utils)["data"], vars(torch)["utils"] = data, utils
    sys.modules.update({module.__name__: module for module in (torch, utils, data)})


def native_extension() -> Any:
    path = sys.argv[2]
    if not path:
        return "no compiler"
    daft.load_extension(path)
    same = daft.get_function("same", col("id"))
    return [
        numbers().select(same.alias("s")).sort("s").to_pydict() == {"s": list(range(1000))},
        numbers().where(same < 5).repartition(3, "id").count_rows(),
    ]


FEATURES = (
    a_query_that_ends_well,
    a_query_that_fails,
    queries_have_ids_of_their_own,
    iter_partitions,
    to_arrow_iter,
    torch_datasets,
    native_extension,
)


def main() -> None:
    if sys.argv[1] == "native":
        daft.set_runner_native()
        print(json.dumps({feature.__name__: feature() for feature in FEATURES}))
        return
    import daft_k8s

    with daft_k8s.set_runner_k8s(allocation="local", num_workers=2, worker_cpu=1, worker_memory="1Gi"):
        print(json.dumps({feature.__name__: feature() for feature in FEATURES}))


if __name__ == "__main__":
    main()
