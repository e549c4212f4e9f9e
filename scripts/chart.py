"""Writes what charts and examples take from daft_k8s: `python scripts/chart.py`, and `... check` to compare only.

In charts/daft:

- values.yaml, between `# BEGIN workers` and `# END workers`: the options of daft_k8s.config;
- values.schema.json, under `workers`: what they accept;
- templates/_generated.tpl: their environment variables, the driver's rights, the workers' ports;
- README.md, between its two marks: every value of values.yaml.

In examples/workflows/kubectl.yaml: the rules of its Role.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "daft"
EXAMPLE = ROOT / "examples" / "workflows" / "kubectl.yaml"
sys.path.insert(0, str(ROOT))  # runs from a checkout whose environment is not linked yet, too

from daft_k8s.config.configuration import Configuration  # noqa: E402
from daft_k8s.config.fields import FIELDS, Field  # noqa: E402
from daft_k8s.config.frozen import thaw  # noqa: E402
from daft_k8s.config.quantities import format_memory  # noqa: E402
from daft_k8s.config.schema import schema  # noqa: E402
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT  # noqa: E402
from daft_k8s.kube.objects.rights import role_rules  # noqa: E402

SHORT_NAMES = {
    "allocation": "allocationMode",
    "num_workers": "count",
    "min_workers": "minCount",
    "max_workers": "maxCount",
    "worker_cpu": "cpu",
    "worker_memory": "memory",
    "worker_gpu": "gpu",
}
"""The options whose value is not simply called the same in camelCase."""

DEFAULTS = {
    "preset": ("production", "A Job runs unattended."),
    "allocation": ("pod", "The driver is in the cluster."),
}
"""Where the chart's default is not the option's, with the reason."""

FURTHER = {
    "image_pull_policy": "null here: `image.pullPolicy`.",
    "labels": "The chart adds `app.kubernetes.io/instance`, by which its NetworkPolicies know its workers.",
}

WIDTH = 140
NOTICE = "Written by scripts/chart.py"


def value_name(option: str) -> str:
    """The option's name under `workers`."""
    first, *rest = option.split("_")
    return SHORT_NAMES.get(option, first + "".join(word.capitalize() for word in rest))


# ---------------------------------------------------------------------------------------------- values and schema


def workers_values() -> str:
    lines = ["workers:"]
    for name, field in FIELDS.items():
        default = yaml.safe_dump(_chart_default(field), default_flow_style=True).removesuffix("...\n").strip()
        lines += [f"  {line}" for line in _comment(_text(field))]
        lines.append(f"  {value_name(name)}: {default}")
    return "\n".join(lines)


def _chart_default(field: Field) -> Any:
    if field.name in DEFAULTS:
        return DEFAULTS[field.name][0]
    plain = thaw(field.default)
    return plain if isinstance(plain, (dict, list)) else None


def _text(field: Field) -> str:
    parts = [re.sub(r"\bNone\b", "null", field.description)]
    if field.name in FURTHER:
        parts.append(FURTHER[field.name])
    if field.name in DEFAULTS:
        parts.append(DEFAULTS[field.name][1])
    elif field.default is not None and _chart_default(field) is None:
        parts.append(f"Default: {_option_default(field)}, or what the preset says.")
    return f"{' '.join(parts)} (`{field.variable}`)"


def _option_default(field: Field) -> str:
    if isinstance(field.default, int) and field.attribute.endswith("_bytes"):
        return format_memory(field.default)
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(f"# -- {text}", WIDTH, subsequent_indent="# ", break_long_words=False, break_on_hyphens=False)


def workers_schema() -> dict[str, Any]:
    properties = {value_name(name): schema(field) for name, field in FIELDS.items()}
    allocation = properties[value_name("allocation")]
    # Workers in the driver's own Pod are not what a chart is for; and no value falls back to what the preset says.
    allocation.update(type="string", enum=[word for word in allocation["enum"] if word not in ("local", None)])
    required = [value_name(name) for name in DEFAULTS]  # null takes a value away, and with it the chart's reason
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def values_schema(current: str) -> str:
    document = json.loads(current)
    document["properties"]["workers"] = workers_schema()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------------------------------------- templates


def generated_templates() -> str:
    variables = {value_name(name): field.variable for name, field in FIELDS.items()}
    always = role_rules(Configuration(allocation="pod"))
    stateful = [rule for rule in role_rules(Configuration(allocation="statefulset")) if rule not in always]
    ports = [{"protocol": "TCP", "port": port} for port in (CONTROL_PORT, DATA_PORT)]
    rules = _yaml(always).replace(
        "resources: [secrets]\n  verbs: [create, delete]",
        'resources: [secrets]\n  verbs: {{ ternary "[create, delete]" "[create]" .Values.rbac.deleteSecrets }}',
    )
    if stateful:
        rules += '\n{{- if eq .Values.workers.allocationMode "statefulset" }}\n' + _yaml(stateful) + "\n{{- end }}"
    return (
        f"{{{{/* {NOTICE}. */}}}}\n\n"
        + _define(
            "daft.workerVariables",
            yaml.safe_dump(variables, sort_keys=False).strip(),
            "The value under `workers`, and its environment variable.",
        )
        + _define("daft.roleRules", rules, "daft_k8s.kube.objects.rights: what the driver does with the API.")
        + _define("daft.workerPorts", _yaml(ports), "daft_k8s.kube.objects.manifest: control and data.")
    ).rstrip() + "\n"


def _define(name: str, body: str, comment: str) -> str:
    return f'{{{{/* {comment} */}}}}\n{{{{- define "{name}" -}}}}\n{body}\n{{{{- end -}}}}\n\n'


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=WIDTH).strip()


# ---------------------------------------------------------------------------------------------- README


@dataclass(frozen=True)
class Value:
    """One documented value."""

    path: str
    default: Any
    text: str


def documented_values(text: str) -> Iterator[Value]:
    """Every value with a `# --` comment above it, in the order of the file.

    Args:
        text: A values.yaml with two spaces of indentation and block style down to the documented values.
    """
    document = yaml.safe_load(text)
    comment: list[str] = []
    parents: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and comment:
            comment.append(stripped.removeprefix("# "))
        elif (key := re.match(r"( *)([A-Za-z0-9_./-]+):", line)) is not None:
            depth = len(key[1]) // 2
            parents = [*parents[:depth], key[2]]
            if comment:
                value = document
                for name in parents:
                    value = value[name]
                yield Value(".".join(parents), value, " ".join(comment))
            comment = []
        else:
            comment = []


def readme(current: str, values: str) -> str:
    rows = ["| value | default | what, and why |", "|---|---|---|"]
    for value in documented_values(values):
        default = json.dumps(value.default, ensure_ascii=False)
        text = value.text.replace("|", "\\|")
        rows.append(f"| `{value.path}` | `{default}` | {text} |")
    return between(current, "<!-- BEGIN values -->", "<!-- END values -->", "\n".join(["", *rows, ""]))


def between(text: str, begin: str, end: str, content: str) -> str:
    """The text with other content between the two marks."""
    before, mark, rest = text.partition(begin)
    _, other_mark, after = rest.partition(end)
    if not mark or not other_mark:
        raise SystemExit(f"the marks {begin!r} and {end!r} are missing")
    return f"{before}{begin}\n{content}\n{end}{after}"


# ---------------------------------------------------------------------------------------------- all of it


def written() -> dict[Path, str]:
    """Every file as it should be."""
    values_path, schema_path, readme_path = CHART / "values.yaml", CHART / "values.schema.json", CHART / "README.md"
    rules = textwrap.indent(_yaml(role_rules()), "  ")
    values = between(
        values_path.read_text(),
        "# BEGIN workers",
        "# END workers",
        f"# {NOTICE} from the options of daft_k8s (docs/configuration.md); null: what the option says.\n"
        + workers_values(),
    )
    return {
        values_path: values,
        schema_path: values_schema(schema_path.read_text()),
        CHART / "templates" / "_generated.tpl": generated_templates(),
        readme_path: readme(readme_path.read_text(), values),
        EXAMPLE: between(EXAMPLE.read_text(), "  # BEGIN rules", "  # END rules", rules),
    }


def main() -> int:
    stale = [(path, text) for path, text in written().items() if not path.exists() or path.read_text() != text]
    if sys.argv[1:] == ["check"]:
        for path, _ in stale:
            print(f"{path.relative_to(ROOT)}: not what daft_k8s says; run: python scripts/chart.py")
        return 1 if stale else 0
    for path, text in stale:
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
