"""Write what growth.py measured into docs/speed.md, and draw it; the peers' Python runs it."""

import json
from importlib import import_module
from statistics import median
from typing import Any

from sheets import DOCS, Rows, markdown, put

FIGURES = DOCS / "speed/growth.json"
BULK = sorted(DOCS.glob("speed/bulk-*.json"), key=lambda path: int(path.stem.split("-")[1]))
PLOT = DOCS / "speed/growth.svg"
DRAWN = (
    "first page",
    "page in the middle",
    "sort=year, in the middle",
    "sort=name",
    "artist=…",
    "name_contains=…, one song",
    "q=mogwai song, one in twelve",
    "count=exact",
)
SHADES = {1: "#8a9199", 2: "#b3261e"}
COMPARED = 64  # connections at which a second worker is compared with one

Found = dict[str, Any]


def tables(parts: Found) -> dict[str, Rows]:
    """Return a table for each part that was measured, its head first, and one of the goals."""
    written = {
        "lists": of_lists,
        "advised": of_advised,
        "connections": of_connections,
        "half": of_half,
        "start": of_start,
        "memory": of_memory,
    }
    sources = parts | ({"advised": parts["lists"]} if "lists" in parts else {})
    found = {name: write(sources[name]) for name, write in written.items() if name in sources}
    return found | {"goals": of_goals(parts)}


def of_lists(found: Found) -> Rows:
    """Write every request with its latencies."""
    sizes = found["sizes"]
    largest = short(sizes[-1])
    rows = [["ms", f"index at {largest}", "rows read", *map(short, sizes)]]
    for each in found["requests"]:
        ms = dict(each["ms"])
        figures = [milliseconds(ms[size]) if size in ms else "" for size in sizes]
        rows.append([each["title"], *planned(each), *figures])
    return rows


def of_advised(found: Found) -> Rows:
    """Write what an index of its own is worth to a request."""
    before = {each["title"]: each["ms"][-1][1] for each in found["requests"]}
    rows = [[f"ms at {short(found['sizes'][-1])}", "index", "rows read", "without", "with it"]]
    for each in found["advised"]:
        figures = milliseconds(before[each["title"]]), milliseconds(each["ms"])
        rows.append([each["title"], *planned(each), *figures])
    return rows


def of_connections(found: Found) -> Rows:
    """Write rate, p99 and CPU for each number of connections, and what a second worker adds."""
    connections = list(dict.fromkeys(each["connections"] for each in found["rows"]))
    rows = [["requests/s (p99 in ms; CPU µs)", "workers", *map(str, connections)]]
    for title in found["ratios"]:
        for workers in SHADES:
            cells = [
                f"{each['rate']:,.0f} ({each['p99']:.0f}; {each['cpu']:,.0f})"
                + (f", {each['failed']:,.0f} failed" if each["failed"] else "")
                for each in found["rows"]
                if (each["title"], each["workers"]) == (title, workers)
            ]
            rows.append([title, str(workers), *cells])
    return rows


def of_half(found: Found) -> Rows:
    """Write the latencies at half load."""
    rows = [["at half load, ms", "peak/s", "offered/s", "reached/s", "p50", "p99", "p99.9"]]
    for each in found["rows"]:
        rates = [f"{each[name]:,.0f}" for name in ("peak", "offered", "rate")]
        slow = [f"{each[name]:.1f}" for name in ("p50", "p99", "p999")]
        rows.append([each["title"], *rates, *slow])
    return rows


def of_start(found: Found) -> Rows:
    """Write how long a start takes."""
    head = ["seconds from the command on", "GET /ping", "GET /songs"]
    rows = [
        [each["title"], f"{each['ping']:.2f}", f"{each['songs']:.2f}"] for each in found["rows"]
    ]
    return [head, *rows]


def of_memory(found: Found) -> Rows:
    """Write how a worker grows."""
    head = ["MB after so many requests", "resident (RSS)", "its share (Pss)"]
    names = ("requests", "rss", "pss")
    return [head, *([f"{each[name]:,.0f}" for name in names] for each in found["rows"])]


def of_bulk(reports: list[Found]) -> Rows:
    """Write how imports and exports compare with psql's copies, by the number of rows."""
    rows = [["rows/s (ratio to psql; MB more)", *(short(each["rows"]) for each in reports)]]
    for name, work in reports[-1]["scenarios"].items() if reports else ():
        cells = [moved(each["scenarios"][name]) for each in reports]
        rows.append([work["title"], *cells])
    return rows


def moved(work: Found) -> str:
    """Write the rate of one work, and what it took beside."""
    rate = median(each["rate"] for each in work["songbook"])
    return f"{rate:,.0f} ({work['ratio']:.2f}; {max(work['growth']):+.1f})"


def of_goals(parts: Found) -> Rows:
    """Write what has a floor and an aim."""
    rows = [["goal", "found", "floor", "aim"]]
    if "lists" in parts and parts["lists"]["sizes"][-1] > 1_000_000:
        deep = f"{parts['lists']['deep']:.2f}"
        rows.append(["page behind row 1,000,000 against the first", deep, "1.2", "1.05"])
    for title, ratio in parts.get("connections", {}).get("ratios", {}).items():
        what = f"second worker against one, {title}: best rates (at {COMPARED} connections)"
        rows.append([what, f"{ratio['best']:.2f} ({ratio['same']:.2f})", "1.3", "1.6"])
    goals = {"first ever": ("6", "3"), "data folder exists": ("3", "1.5")}
    rows += [
        [f"start, {each['title']}, s", f"{each['songs']:.2f}", *goals[each["title"]]]
        for each in parts.get("start", {}).get("rows", [])
    ]
    for each in parts.get("memory", {}).get("rows", [])[1:2]:
        what = f"memory after {each['requests']:,} requests, MB"
        rows.append([what, f"{each['rss']:.0f}", "100", "80"])
    return rows


def planned(each: Found) -> list[str]:
    """Write how a request is served."""
    rows = "not known" if each["rows"] is None else f"{each['rows']:,}"
    return [each["index"] or "reads the table", rows]


def milliseconds(ms: float | None) -> str:
    """Write a latency, however long."""
    return "given up after 5 s" if ms is None else f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def short(size: int) -> str:
    """Write a round number."""
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1000}k"


def plot(parts: Found) -> None:
    """Draw the latencies of lists by their size, and the rates by connections."""
    import_module("matplotlib").rcParams.update({"svg.hashsalt": "songbook", "font.size": 9})
    figure, (lists, rates) = import_module("matplotlib.pyplot").subplots(1, 2, figsize=(11, 4))
    for each in parts.get("lists", {}).get("requests", []):
        if each["title"] in DRAWN:
            known = [point for point in each["ms"] if point[1] is not None]
            lists.plot(*zip(*known, strict=True), marker="o", label=each["title"])
    lists.set(xscale="log", yscale="log", title="a page of 100", xlabel="songs", ylabel="ms")
    found = parts.get("connections", {"rows": [], "ratios": {}})
    for style, title in zip(("-", "--", ":"), found["ratios"], strict=False):
        for workers, shade in SHADES.items():
            chosen = [e for e in found["rows"] if (e["title"], e["workers"]) == (title, workers)]
            points = [[each[name] for each in chosen] for name in ("connections", "rate")]
            label = f"{title}, {workers} worker{'s' * (workers > 1)}"
            rates.plot(*points, style, color=shade, marker="o", label=label)
    rates.set(title="one worker and two", xlabel="connections", ylabel="requests/s", ylim=(0, None))
    rates.set_xscale("log", base=4)
    rates.xaxis.set_major_formatter("{x:.0f}")
    for panel in (lists, rates):
        panel.legend(fontsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Write both."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    plot(report["parts"])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    about = f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores, {versions}."
    bulk = of_bulk([json.loads(path.read_text(encoding="utf-8")) for path in BULK])
    shown = map(markdown, [*tables(report["parts"]).values(), bulk])
    put("growth", about, *shown, "![Growth](speed/growth.svg)")


if __name__ == "__main__":
    main()
