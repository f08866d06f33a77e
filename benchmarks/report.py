"""Measuring in turns, and tables of what came out; each table is reStructuredText, as the documentation has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

Samples = Mapping[str, Sequence[float]]


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each contender measured in each round.

    All of them have their turn in every round, each round begins with another one, and one round before is not counted. So
    whatever else the machine does falls on all alike.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(-1, rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            sample = contenders[name]()
            if number >= 0:
                samples[name].append(sample)
    return samples


def ratios(samples: Samples, name: str, baseline: str) -> list[float]:
    """Return, for each round, how many times the baseline's figure a contender's is."""
    return [mine / theirs for mine, theirs in zip(samples[name], samples[baseline], strict=True)]


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """Return a median and the quartiles around it, such as ``1.08× (1.05×–1.12×)``."""
    if len(values) < 2:
        return form(values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{form(median(values))} ({form(low)}–{form(high)})"


def milliseconds(seconds: float) -> str:
    """Return such as ``1.23 ms``."""
    return f"{seconds * 1000:.2f} ms"


def times(ratio: float) -> str:
    """Return such as ``1.08×``."""
    return f"{ratio:.2f}×"


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under its title."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    print(f"\n{title}\n{'-' * len(title)}\n\n{rule}")
    for number, row in enumerate((head, *rows)):
        # An empty first cell would be read as the line before going on.
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print(rule)
    print(f"{rule}\n", flush=True)


def compare(samples: Samples, baseline: str, form: Callable[[float], str], aims: Mapping[str, str]) -> list[list[str]]:
    """Return a row for each contender: its figure, how many times the baseline's that is, and what it is to be."""
    return [
        [
            name,
            spread(values, form),
            "1" if name == baseline else spread(ratios(samples, name, baseline), times),
            aims.get(name, "–"),
        ]
        for name, values in samples.items()
    ]


def skipped(what: str, cure: str) -> None:
    """Print that something is not measured, and what brings it."""
    print(f"\nSkipped: {what}. To measure it: ``{cure}``\n", flush=True)
