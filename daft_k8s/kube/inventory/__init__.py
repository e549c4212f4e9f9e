"""Inventory: the sessions and runs of a namespace, of this driver or of others.

Here: sessions with their workers and what their drivers publish, the logs of a session, and the removal of sessions and
runs. Not here: the command line, and any print. Imported by `cli` and `jobs`.
"""
