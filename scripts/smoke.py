"""Seven queries on two local workers, each compared with what plain Python computes. Prints what ran with what.

Needs nothing but daft_k8s and what it depends on: `make versions` runs it on the oldest and newest Daft and Python.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable

import daft
from daft import DataFrame, col

import daft_k8s

ROWS = 10_000
NUMBERS = list(range(ROWS))
COLOURS = ["red", "green", "blue", "white", "black"]


def table() -> DataFrame:
    """Numbers 0 to 9,999, each with a colour, in four partitions."""
    data = {"number": NUMBERS, "colour": [COLOURS[number % 5] for number in NUMBERS]}
    return daft.from_pydict(data).into_partitions(4)


def group() -> bool:
    sums: dict[str, int] = defaultdict(int)
    for number in NUMBERS:
        sums[COLOURS[number % 5]] += number
    answer = table().groupby("colour").agg(col("number").sum().alias("sum")).to_pydict()
    return dict(zip(answer["colour"], answer["sum"], strict=True)) == sums


def join() -> bool:
    lengths = daft.from_pydict({"colour": COLOURS, "length": [len(colour) for colour in COLOURS]})
    answer = table().join(lengths, on="colour").sum("length").to_pydict()
    return bool(answer["length"] == [sum(len(COLOURS[number % 5]) for number in NUMBERS)])


def sort_and_limit() -> bool:
    answer = table().sort("number", desc=True).limit(7).to_pydict()
    return bool(answer["number"] == NUMBERS[:-8:-1])


def function_of_the_user() -> bool:
    @daft.func
    def shout(colour: str) -> str:
        return colour.upper()

    answer = table().select(shout(col("colour")).alias("loud")).to_pydict()
    return Counter(answer["loud"]) == Counter(colour.upper() for colour in COLOURS for _ in range(ROWS // 5))


def write_and_read() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        table().repartition(3, "colour").write_parquet(folder)
        answer = daft.read_parquet(f"{folder}/*.parquet").select("number").to_pydict()
    return sorted(answer["number"]) == NUMBERS


def actors_of_the_user() -> bool:
    @daft.cls(max_concurrency=2)
    class Shouter:
        def __init__(self, mark: str) -> None:
            self.mark = mark

        def __call__(self, colour: str) -> str:
            return colour.upper() + self.mark

    answer = table().select(Shouter("!")(col("colour")).alias("loud")).to_pydict()
    return Counter(answer["loud"]) == Counter(colour.upper() + "!" for colour in COLOURS for _ in range(ROWS // 5))


def errors_of_the_user() -> bool:
    # Python's versions differ in what they do with these.
    return all(error_of_the_user(kind) for kind in (StopIteration, StopAsyncIteration, SystemExit, ValueError))


def error_of_the_user(kind: type[BaseException]) -> bool:
    @daft.func.batch(return_dtype=daft.DataType.int64())
    def fail(numbers: daft.Series) -> daft.Series:
        if 7_000 in numbers.to_pylist():
            raise kind("no")
        return numbers

    @daft.func(return_dtype=daft.DataType.int64())
    async def fail_later(number: int) -> int:
        if number == 7_000:
            raise kind("no")
        return number

    for function in (fail, fail_later):
        try:
            table().select(function(col("number"))).to_pydict()
        except Exception as error:
            if isinstance(error, kind) or (isinstance(error, RuntimeError) and isinstance(error.__cause__, kind)):
                continue
        return False
    return True


QUERIES: list[Callable[[], bool]] = [
    group, join, sort_and_limit, function_of_the_user, actors_of_the_user, errors_of_the_user, write_and_read
]  # fmt: skip


def main() -> int:
    daft_k8s.set_runner_k8s(allocation="local", num_workers=2)
    right = 0
    for query in QUERIES:
        if query():
            right += 1
        else:
            print(f"wrong answer: {query.__name__}")
    daft_k8s.shutdown()
    print(f"Python {platform.python_version()}, Daft {daft.__version__}: {right} of {len(QUERIES)} queries right")
    return 0 if right == len(QUERIES) else 1


if __name__ == "__main__":
    sys.exit(main())
