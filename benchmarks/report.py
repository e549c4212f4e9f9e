"""The demo's results as one self-contained HTML page: a table and a bar for each query and engine."""

from __future__ import annotations

import html
from dataclasses import dataclass

from benchmarks.suite import SuiteRun
from benchmarks.verdict import RIGHT, Verdict

BAR_HEIGHT = 11
ROW_GAP = 10
LABEL_WIDTH = 46
CHART_WIDTH = 860
VALUE_WIDTH = 70
COLOURS = ("#8a8f98", "#2f6fde", "#d9822b")

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --rule: #d8dce1; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --paper: #14171a; --rule: #353b42; --good: #56d364; --bad: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); } svg text { fill: var(--ink); font-size: 12px; }
.verdict { font-size: 1.3rem; font-weight: 600; }
"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows."""

    title: str
    subtitle: str
    verdict: str
    suites: list[SuiteRun]
    judged: str
    verdicts: dict[int, Verdict]
    notes: list[str]

    def html(self) -> str:
        """The page; needs no other file and no network."""
        colour = "good" if all(verdict.word == RIGHT for verdict in self.verdicts.values()) else "bad"
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(self.title)}</h1>\n"
            f'<p>{html.escape(self.subtitle)}</p>\n<p class="verdict {colour}">{html.escape(self.verdict)}</p>\n'
            f"{self._chart()}\n{self._table()}\n<ul>{notes}</ul>\n</body></html>\n"
        )

    def _chart(self) -> str:
        longest = max((run.seconds or 0.0 for suite in self.suites for run in suite.queries.values()), default=0.0)
        scale = (CHART_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / longest if longest > 0 else 0.0
        parts = []
        top = 24
        for index, suite in enumerate(self.suites):
            left = LABEL_WIDTH + index * 160
            parts.append(f'<rect x="{left}" y="4" width="12" height="12" rx="2" fill="{_colour(index)}"/>')
            parts.append(f'<text x="{left + 18}" y="14">{html.escape(suite.engine)}</text>')
        for number in self.verdicts:
            middle = top + len(self.suites) * BAR_HEIGHT / 2 + 4
            parts.append(f'<text x="0" y="{middle:g}">q{number}</text>')
            for index, suite in enumerate(self.suites):
                seconds = suite.queries[number].seconds
                if seconds is not None:
                    width = max(1.0, seconds * scale)
                    place = f'x="{LABEL_WIDTH}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT - 1}"'
                    parts.append(f'<rect {place} rx="2" fill="{_colour(index)}"/>')
                    text_place = f'x="{LABEL_WIDTH + width + 6:.1f}" y="{top + BAR_HEIGHT - 2}"'
                    parts.append(f"<text {text_place}>{seconds:.2f} s</text>")
                top += BAR_HEIGHT
            top += ROW_GAP
        label = "Seconds of each query on each engine; shorter is faster"
        return f'<svg viewBox="0 0 {CHART_WIDTH} {top}" role="img" aria-label="{label}">{"".join(parts)}</svg>'

    def _table(self) -> str:
        heads = ["query", "rows", *[f"{suite.engine}, s" for suite in self.suites]]
        heads += [f"{suite.engine} ratio" for suite in self.suites[1:]] + [f"answer of {self.judged}"]
        lines = ["<table><thead><tr>", *[f"<th>{html.escape(head)}</th>" for head in heads], "</tr></thead><tbody>"]
        for cells, verdict in zip(table_cells(self.suites, self.verdicts), self.verdicts.values(), strict=True):
            colour = "good" if verdict.word == RIGHT else "bad"
            title = html.escape(verdict.detail, quote=True)
            data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[:-1])
            last = f'<td class="{colour}" title="{title}">{html.escape(cells[-1])}</td>'
            lines.append(f"<tr>{data}{last}</tr>")
        return "\n".join([*lines, "</tbody></table>"])


def table_cells(suites: list[SuiteRun], verdicts: dict[int, Verdict]) -> list[list[str]]:
    """One row of text for each query: number, rows, seconds of each engine, ratios to the first, verdict."""
    lines = []
    for number, verdict in verdicts.items():
        runs = [suite.queries[number] for suite in suites]
        cells = [f"q{number}", "-" if runs[-1].rows is None else f"{runs[-1].rows:,}"]
        cells += [_number(run.seconds, ".3f") for run in runs]
        cells += [_number(ratio(run.seconds, runs[0].seconds), ".2f") for run in runs[1:]]
        lines.append([*cells, verdict.word])
    return lines


def ratio(seconds: float | None, base: float | None) -> float | None:
    """How many times as long as `base`; None if either is unknown."""
    return seconds / base if seconds is not None and base else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
