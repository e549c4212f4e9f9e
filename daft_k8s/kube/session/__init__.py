"""Session: what a session has in a cluster besides its workers.

Here: access to the cluster, the namespace and owner of the workers, the session's Secret and Lease, and the removal of
what this session or a dead one has made. Not here: single workers. Imported by `inventory` and `launch`.
"""
