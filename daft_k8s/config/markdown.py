"""Writes `docs/configuration.md`: `python -m daft_k8s.config.markdown > docs/configuration.md`."""

from __future__ import annotations

import json
import sys
from itertools import groupby

from daft_k8s.config.fields import FIELDS, Field
from daft_k8s.config.frozen import thaw
from daft_k8s.config.presets import POD_SIZES, PRESETS
from daft_k8s.config.quantities import format_memory

_INTRODUCTION = """\
# Configuration

<!-- Generated from daft_k8s/config by `python -m daft_k8s.config.markdown`; do not edit. -->

For each option, the first of these counts:

1. an argument: `daft_k8s.set_runner_k8s(num_workers=4, worker_memory="8Gi")`
2. an environment variable: `DAFT_K8S_NUM_WORKERS=4 DAFT_K8S_WORKER_MEMORY=8Gi`
3. a key of the TOML file
4. the preset
5. the default

The file is the first of these that is named or exists; files are not merged:
the argument `config_file`, the environment variable `DAFT_K8S_CONFIG`, `daft-k8s.toml` in the current folder,
`~/.config/daft-k8s/config.toml`. The last two are refused if another user owns or may write the file or its folder, as
options can run code.

```toml
preset = "production"
num_workers = 4
worker_memory = "8Gi"

[node_selector]
disk = "ssd"
```

An argument that is `None`, and an environment variable that is empty, count as not given. In environment variables,
lists are written `a,b` and maps `k=v,k=v`, or either as JSON. Relative paths start at the current folder, in the TOML
file at the file's folder.

All mistakes are reported at once, each with the accepted values and where the value came from, before anything is
started. An unknown option is a mistake in every source. Options marked *Pods only* have no effect with
`allocation="local"`; setting them there is a warning.
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _presets()]
    for topic, fields in groupby(FIELDS.values(), key=lambda field: field.topic):
        parts.append(f"## {topic}\n")
        parts.extend(_entry(field) for field in fields)
    return "\n".join(parts)


def _presets() -> str:
    names = [*PRESETS]
    changed = [name for name in FIELDS if any(name in preset.options for preset in PRESETS.values())]
    sizes = " and ".join(f"`{name}`" for name in POD_SIZES)
    lines = ["## Presets", ""]
    lines += [f"- `{name}`: {preset.purpose}" for name, preset in PRESETS.items()]
    lines += ["", f"| option | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for option in changed:
        cells = [_cell(preset.options.get(option), FIELDS[option]) for preset in PRESETS.values()]
        lines.append(f"| `{option}` | {' | '.join(cells)} |")
    lines += ["", f"Local workers share their machine under every preset: what one says of {sizes} is for Pods."]
    return "\n".join([*lines, ""])


def _cell(value: object, field: Field) -> str:
    return f"*{_default(field)}*" if value is None else f"`{_value(value)}`"


def _entry(field: Field) -> str:
    marks = " *Pods only.*" if field.option.pods_only else ""
    return (
        f"### `{field.name}`\n\n"
        f"{field.description}{marks}\n\n"
        f"- Default: {_default(field)}\n"
        f"- Accepted: {field.accepts}\n"
        f"- Environment variable: `{field.variable}`\n"
    )


def _default(field: Field) -> str:
    if field.option.chosen:
        return "chosen"
    if field.default is None:
        return "None"
    if isinstance(field.default, int) and field.attribute.endswith("_bytes"):
        return f"`{format_memory(field.default)}`"
    plain = thaw(field.default)
    return f"`{_value(plain)}`" if plain or isinstance(plain, (int, float)) else "empty"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


if __name__ == "__main__":
    sys.stdout.write(page())
