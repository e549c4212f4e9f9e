"""Exit codes of the command: a contract with scripts and CI."""

from __future__ import annotations

from daft_k8s.errors import ClusterError, CodeError, ConfigurationError, DaftK8sError

FAILED = 1
"""The command ran, and what it ran failed: a check of `doctor`, a query of `sql`."""
USAGE = 2
"""The command line is wrong."""
CONFIGURATION = 3
"""An option, a configuration file or the code to ship is wrong; nothing was started."""
CLUSTER = 4
"""The cluster cannot be reached, or refuses."""
NOT_FOUND = 5
"""There is no such session, run or worker."""
INTERRUPTED = 130
"""Ctrl-C; what was started has been cancelled."""

WORDS = {
    0: "it worked",
    FAILED: "it failed: a check of `doctor`, the query of `sql`; `run` returns the script's own code",
    USAGE: "the command line is wrong",
    CONFIGURATION: "an option, the configuration or the code to ship is wrong; nothing was started",
    CLUSTER: "the cluster cannot be reached, or refuses",
    NOT_FOUND: "there is no such session, run or worker",
    INTERRUPTED: "Ctrl-C; what was started has been cancelled",
}


def code_of(error: DaftK8sError) -> int:
    """The exit code for an error."""
    if isinstance(error, (ConfigurationError, CodeError)):
        return CONFIGURATION
    return CLUSTER if isinstance(error, ClusterError) else FAILED
