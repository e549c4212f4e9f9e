"""The reference: DuckDB's answers to the standard's SQL, computed once and kept beside the data.

An answer file is named after a hash of its SQL and DuckDB's version, so a changed query is never compared with an
old answer. DuckDB shares no code with Daft and reads the same Parquet.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tpch.compare import Ordering
from benchmarks.tpch.data import TABLES

QUERY_DIRECTORY = Path(__file__).with_name("queries")
NUMBERS = tuple(range(1, 23))
TIE_MARGIN = 1_000
"""Rows kept beyond a LIMIT: rows that tie with the last one may stand in its place."""

MEMORY_LIMIT = "8GB"

_LIMIT = re.compile(r"\blimit\s+(\d+)\s*$", re.IGNORECASE)

_ORDER_KEYS: dict[int, tuple[str, ...]] = {
    1: ("l_returnflag", "l_linestatus"),
    2: ("s_acctbal", "n_name", "s_name", "p_partkey"),
    3: ("revenue", "o_orderdate"),
    4: ("o_orderpriority",),
    5: ("revenue",),
    6: (),
    7: ("supp_nation", "cust_nation", "l_year"),
    8: ("o_year",),
    9: ("nation", "o_year"),
    10: ("revenue",),
    11: ("value",),
    12: ("l_shipmode",),
    13: ("custdist", "c_count"),
    14: (),
    15: ("s_suppkey",),
    16: ("supplier_cnt", "p_brand", "p_type", "p_size"),
    17: (),
    18: ("o_totalprice", "o_orderdate"),
    19: (),
    20: ("s_name",),
    21: ("numwait", "s_name"),
    22: ("cntrycode",),
}


def sql_of(number: int, *, scale_factor: float) -> str:
    """The standard's text of a query; query 11's fraction depends on the scale factor."""
    text = (QUERY_DIRECTORY / f"q{number:02d}.sql").read_text().strip()
    return text.replace("{fraction}", f"{0.0001 / scale_factor:.12f}")


def ordering_of(number: int) -> Ordering:
    """What ORDER BY and LIMIT of a query fix."""
    text = (QUERY_DIRECTORY / f"q{number:02d}.sql").read_text().strip()
    limit = _LIMIT.search(text)
    return Ordering(keys=_ORDER_KEYS[number], limit=int(limit.group(1)) if limit else None)


class Reference:
    """The right answers for one generated directory."""

    def __init__(self, data: Path, *, scale_factor: float) -> None:
        self._data = data
        self._scale_factor = scale_factor
        self._directory = data / "answers"

    def is_cached(self, number: int) -> bool:
        """Whether `answer` only has to read a file."""
        return self._file(number).exists()

    def answer(self, number: int) -> pa.Table:
        """DuckDB's rows for a query; with LIMIT n, up to `TIE_MARGIN` more than n."""
        file = self._file(number)
        if not file.exists():
            self._directory.mkdir(exist_ok=True)
            with self._connection() as connection:
                table = connection.sql(self._reference_sql(number)).to_arrow_table()
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            pq.write_table(table, temporary)
            temporary.rename(file)
        return pq.read_table(file)

    def _reference_sql(self, number: int) -> str:
        def widen(match: re.Match[str]) -> str:
            return f"limit {int(match.group(1)) + TIE_MARGIN}"

        return _LIMIT.sub(widen, sql_of(number, scale_factor=self._scale_factor))

    def _file(self, number: int) -> Path:
        key = f"{duckdb.__version__}\n{self._reference_sql(number)}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self._directory / f"q{number:02d}-{digest}.parquet"

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect()
        try:
            connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
            connection.execute(f"set temp_directory = '{_quoted(self._directory / 'spill')}'")
            for table in TABLES:
                files = _quoted(self._data / table / "*.parquet")
                connection.execute(f"create view {table} as select * from read_parquet('{files}')")
            yield connection
        finally:
            connection.close()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
