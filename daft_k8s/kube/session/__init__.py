"""Session: what a session has in a cluster besides its workers.

Here: access to the cluster, the namespace and owner of the workers, the session's Secret and Lease, and the removal of
objects of this session or of dead ones. Not here: single workers. Imported by `inventory` and `launch`.
"""
