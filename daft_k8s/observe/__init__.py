"""Observe: what a session tells of itself: its statistics and its summary.

Here: the reading of the session's journal, the statistics that follow from its facts, workers' reports of their memory,
and the form in which a driver publishes them. Not here: any decision, any call of the session; facts and snapshots are
passed in. Imported by `driver`, `jobs` and `kube`.
"""
