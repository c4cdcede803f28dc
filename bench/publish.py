"""Write what was measured into docs/speed.md, as a table and a plot; the peers' Python runs it."""

import json
import sys
from typing import Any

import matplotlib as mpl
from contenders import CONTENDERS, SONGBOOK
from matplotlib import pyplot as plt
from sheets import DOCS, markdown, put

FIGURES = DOCS / "speed/peers.json"
PLOT = DOCS / "speed/peers.svg"
PLOTTED = ("list", "one", "create", "update")
OURS, OTHER = "#b3261e", "#8a9199"


def table(report: dict[str, Any]) -> str:
    """Return the tables in Markdown: CPU, then throughput and p99, then memory."""
    scenarios = report["scenarios"].values()
    names = [name for name in CONTENDERS if any(name in each["samples"] for each in scenarios)]
    heads = [CONTENDERS[name].title for name in names]
    cpu = [["CPU µs per request", *heads, "ratio", "floor", "aim"]]
    rate = [["requests/s (p99 in ms)", *heads]]
    for each in scenarios:
        samples = each["samples"]
        figures = [spread(samples[name]) if name in samples else "-" for name in names]
        marks = [f"**{each['ratio']:.1f}**", f"{each['floor']:g}", f"{each['aim']:g}"]
        cpu.append([each["title"], *figures, *marks])
        rates = [shown(samples[name]) if name in samples else "-" for name in names]
        rate.append([each["title"], *rates])
    most = [
        max(e["samples"][name]["memory"] for e in scenarios if name in e["samples"])
        for name in names
    ]
    memory = [["MB", *heads], ["memory at most", *(f"{each:.0f}" for each in most)]]
    return "\n\n".join(markdown(rows) for rows in (cpu, rate, memory))


def spread(sample: dict[str, Any]) -> str:
    """Write a median with the range of its rounds."""
    rounds = [each["cpu"] for each in sample["rounds"]]
    return f"{sample['cpu']:,.0f} ({min(rounds):,.0f}-{max(rounds):,.0f})"


def shown(sample: dict[str, Any]) -> str:
    """Write a rate with its p99."""
    return f"{sample['rate']:,.0f} ({sample['p99']:.0f})"


def plot(report: dict[str, Any]) -> None:
    """Draw how much CPU a request takes, a panel for each of some scenarios."""
    mpl.rcParams |= {"svg.hashsalt": "songbook", "font.size": 9}
    found = {name: report["scenarios"][name] for name in PLOTTED if name in report["scenarios"]}
    figure, panels = plt.subplots(1, len(found), figsize=(11, 2.6), sharey=True, squeeze=False)
    for panel, scenario in zip(panels[0], found.values(), strict=True):
        names = [name for name in reversed(CONTENDERS) if name in scenario["samples"]]
        values = [scenario["samples"][name]["cpu"] for name in names]
        colours = [OURS if name == SONGBOOK.name else OTHER for name in names]
        bars = panel.barh([CONTENDERS[name].title for name in names], values, color=colours)
        panel.bar_label(bars, fmt="{:,.0f}", padding=3)
        panel.set(
            title=scenario["title"], xlabel="CPU µs per request", xlim=(0, max(values) * 1.25)
        )
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Write both."""
    report = json.loads(FIGURES.read_text(encoding="utf-8"))
    if not report["is_whole"]:
        sys.exit("Only a run of all scenarios with all contenders is published in docs/speed.md.")
    plot(report)
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    about = (
        f"{report['date'][:10]}, {report['system']}, {report['cpus']} cores; {versions}; "
        f"the peers: {', '.join(report['peers'])}; "
        f"{report['songs']:,} songs, {report['load']} with {report['connections']} connections, "
        f"medians of {report['rounds']} rounds of {report['seconds']} s (range), taking turns."
    )
    put("peers", about, table(report), "![CPU per request](speed/peers.svg)")


if __name__ == "__main__":
    main()
