"""Observe: what a session tells of itself: its statistics, its summary, its metrics and its event log.

Here: the reading of the session's journal, the statistics and metrics that follow from its facts, workers' reports of
their memory, the form in which a driver publishes them, and the event log with its schema and its stores. Not here: any
decision, any call of the session; facts and snapshots are passed in. Imported by `driver`, `jobs` and `kube`.
"""
