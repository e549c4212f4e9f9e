"""Measurements against native Daft, Daft on Ray and DuckDB; run as `python -m benchmarks.<name>`.

`demo` proves TPC-H answers, `bench` compares engines in one run, `spill_shuffle` shuffles more than
memory. Every engine runs in a process of its own (`engine`). Nothing in `daft_k8s` imports this package.
"""
