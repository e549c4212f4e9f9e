"""Boot: how a process of the runner starts, comes to use this runner, and ends with all that it has started.

Standard library only: `daft_k8s.pth` loads parts of this room into every Python process of a user who set
`DAFT_RUNNER=k8s`, and `start` runs before the search path is known. Every room may import this one. It imports none.
`daft_k8s._autostart`, which that hook names, stands above the seam instead, because it installs the seam.
"""
