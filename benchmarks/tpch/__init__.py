"""TPC-H: data, the 22 queries (standard SQL for the reference, DataFrames for Daft) and their answers.

`data` generates, `queries/` holds the standard's text, `dataframe_queries` Daft's form of it, `answers`
DuckDB's results, `compare` the verdict. Knows nothing of engines or runners.
"""
