"""A storm as a picture: how far the executions were, second by second, and what it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # after the choice of what draws

WORDS = {
    "decided": "decided, a row each",
    "confirmed": "confirmed by the broker",
    "received": "received by the host",
    "ended": "ended in the ledger",
}
COLOURS = {"decided": "#9aa5b1", "confirmed": "#2f6fde", "received": "#e08a1e", "ended": "#2c9c6a"}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the picture; its kind is told by the name's end."""
    size, machine = result["size"], result["machine"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    for number, curves in enumerate(result["curves"]):
        for step, seconds in curves.items():
            share = [size["deployments"] * (index + 1) / len(seconds) for index in range(len(seconds))]
            left.plot(
                seconds,
                share,
                color=COLOURS[step],
                linewidth=1.8 if step != "decided" else 2.6,
                alpha=0.45 + 0.55 * (number + 1) / len(result["curves"]),
                label=WORDS[step] if number == 0 else None,
                drawstyle="steps-post",
            )
    left.set_xlim(left=-0.02 * max(curves["ended"][-1] for curves in result["curves"]))
    left.set_ylim(0, size["deployments"] * 1.03)
    left.set_xlabel("seconds after the nominal minute")
    left.set_ylabel("executions")
    left.set_title(
        f"{size['deployments']:,} deployments due at once, {size['hosts']} hosts, {size['rounds']} rounds", fontsize=10
    )
    left.grid(color="#e4e7eb", linewidth=0.8)
    left.legend(loc="lower right", frameon=False, fontsize=9)
    cpu = sorted(result["median"]["cpu_seconds"].items(), key=lambda pair: pair[1])
    bars = right.barh([name for name, _ in cpu], [seconds for _, seconds in cpu], color="#7b8794")
    right.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    right.set_xlim(0, max(seconds for _, seconds in cpu) * 1.15)
    right.set_xlabel("CPU seconds of a round (median)")
    system = machine["system"].partition("(")[0].replace("GNU/Linux ", "").strip()
    right.set_title(f"{machine['cores']} cores, {system}, Python {machine['python']}", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
