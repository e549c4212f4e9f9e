"""Daft's own tests on this runner.

`run.py` is the command: it collects, starts and watches pytest processes (`process.py`), keeps what
they report (`results.py`) and compares it with another runner's results (`baseline.py`). Those
processes load `plugin.py`. Nothing of Daft's tests is kept here: they come from a checkout that the
caller names (`checkout.py`).
"""
