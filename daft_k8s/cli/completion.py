"""`daft-k8s completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the shell's completion script.

    \b
    Examples:
      daft-k8s completion bash > ~/.local/share/bash-completion/completions/daft-k8s
      daft-k8s completion zsh > "${fpath[1]}/_daft-k8s"
      daft-k8s completion fish > ~/.config/fish/completions/daft-k8s.fish
    """
    from daft_k8s.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(cli, {}, "daft-k8s", "_DAFT_K8S_COMPLETE").source())
