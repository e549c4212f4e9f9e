"""Seam: the only room on the driver that touches Daft's private modules.

Here: the hooks that Daft's scheduler calls instead of Ray, the runner object, partition sets and the check of the Daft
version. Not here: how workers are started or reached. Imported by `_autostart`, `api` and `doctor`.
"""
