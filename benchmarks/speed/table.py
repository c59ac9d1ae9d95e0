"""The page of results: one table of ratios, one of slopes, one of reach, one of real features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]


def verdict(record: Record) -> str:
    """pass, FAIL (too slow), WRONG (answers differ), floor (nothing is required), or why there is no figure."""
    if record["status"] == "ok":
        if not record["required"]:
            return "floor"
        return "pass" if record["ratio"] >= record["required"] else "FAIL"
    return "WRONG" if record["status"] == "wrong" else str(record["status"])


def machine(around: Record) -> str:
    """Versions, processor, cores and vector instructions in words, from what `measure.environment` gives."""
    versions = ", ".join(f"{name} {version}" for name, version in around["packages"].items())
    flags = f" ({', '.join(around['vector_flags'])})" if around["vector_flags"] else ""
    return f"Python {around['python']}, {versions}. {around['processor']}, {around['cores']} cores{flags}."


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(rows + ["| " + " | ".join(line) + " |" for line in lines])


def seconds(value: float) -> str:
    """Seconds with three digits, in the unit that fits."""
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def size(value: float) -> str:
    """Bytes with three digits, in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":
            return f"{value:.3g} {unit}"
        value /= 1000
    return ""


def cases_table(records: Sequence[Record]) -> str:
    """One line a case; the ratio is processor time of the peer over that of poolwise."""
    lines = []
    for r in records:
        left = [r["task"], r["data"], r["against"]]
        if "ratio" in r:
            fast, peer = r["fast"], r["peer"]
            figures = [
                seconds(fast["cpu_s"]),
                seconds(peer["cpu_s"]),
                size(fast["memory"]),
                size(peer["memory"]),
                _ratio(r["ratio"]),
            ]
        else:
            figures = ["-"] * 5
        required = f"≥ {_ratio(r['required'])}" if r["required"] else "-"
        lines.append([*left, *figures, required, f"**{verdict(r)}**{beyond_reach(r)}", r["text"]])
    header = ["task", "data", "against", "poolwise", "peer", "memory", "peer memory", "ratio", "required", "", "check"]
    return markdown(header, lines)


def beyond_reach(record: Record) -> str:
    """Beside a requirement that is missed: the ratio of reading the array once and doing nothing."""
    if verdict(record) != "FAIL" or "floor" not in record:
        return ""
    return f"; a bare read: {_ratio(record['floor'])}"


def _ratio(value: float) -> str:
    return f"{value:.0f}x" if value >= 20 else f"{value:.2g}x" if value < 1 else f"{value:.1f}x"


def slopes_table(slopes: Sequence[Record]) -> str:
    """One line a curve."""
    lines = [
        [
            s["name"],
            s["along"],
            ", ".join(f"{p['value']}: {seconds(p['cpu_s'])}, {size(p['memory'])}" for p in s["points"]),
            f"{s['slope']:.2f}",
            f"≤ {s['steepest']}",
            "**pass**" if s["slope"] <= s["steepest"] else "**FAIL**",
        ]
        for s in slopes
    ]
    return markdown(["curve", "along", "processor time, memory", "slope", "required", ""], lines)


def reach_table(rows: Sequence[Record], sizes: Sequence[int]) -> str:
    """One line a method, one column a pool size."""
    lines = [[r["task"], r["name"], r["array"], *(_reach(cell) for cell in r["cells"])] for r in rows]
    return markdown(["task", "method", "bytes it must allocate", *(f"N={n:,}" for n in sizes)], lines)


def _reach(cell: Record) -> str:
    if cell["status"] == "ok":
        return f"{seconds(cell['cpu_s'])}, {size(cell['memory'])}"
    if cell["status"] == "time":
        return f"~ {seconds(cell['cpu_s'])}"
    if cell["status"] == "memory":
        return f"needs {size(cell['bytes'])}"
    return f"{cell['status']}: {cell['text']}"


def features_table(rows: Sequence[Record]) -> str:
    """One line a strategy."""
    lines = [
        [
            r["strategy"],
            str(r["n"]),
            str(r["batch_size"]),
            seconds(r["float16"]),
            seconds(r["float32"]),
            f"{r['shared']:.1%}",
        ]
        for r in rows
    ]
    return markdown(["strategy", "N", "b", "float16 rows", "float32 rows", "picks shared"], lines)


def in_short(records: Sequence[Record]) -> str:
    """How many rows pass, and which do not; floors are not counted."""
    marks = [(r, verdict(r)) for r in records]
    marks = [(r, mark) for r, mark in marks if mark != "floor"]
    passed = sum(mark == "pass" for _, mark in marks)
    rest = [
        f"- {mark}: {r['task']} ({r['data']}) against {r['against']}{beyond_reach(r)}"
        for r, mark in marks
        if mark != "pass"
    ]
    return "\n".join([f"{passed} of {len(marks)} rows pass.", *([""] if rest else []), *rest])
