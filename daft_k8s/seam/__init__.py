"""The seam: the only room on the driver that touches Daft's private modules.

Here live the hooks that Daft's scheduler calls instead of Ray, the runner object, partition sets and
the start-up check of the Daft version. Nothing here may know how workers are started or reached: that
is `daft_k8s.driver`. Only `daft_k8s.api` imports this room; workers import `seam.limit` alone, because
the handle of a LIMIT counter travels inside plans.
"""
