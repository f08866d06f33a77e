"""The numbers of ``docs/operating.rst``: what the command counts is what the page says."""

from __future__ import annotations

import re

import pytest

from benchmarks import sums
from tests.support.samples import DOCS

PAGE = (DOCS / "operating.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "calls"), [(60, "6,000,000"), (300, "1,200,000"), (900, "400,000"), (3600, "100,000")]
)
def test_calls_an_hour(seconds: int, calls: str) -> None:
    assert f"{sums.api_calls_an_hour(100_000, seconds):,.0f}" == calls
    assert re.search(rf"^{seconds:,} s +{calls} ", PAGE, re.MULTILINE)


def test_a_sign_in_costs_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "SIGN_INS", 8)
    calls, statements, growth = sums.counted()
    counted = {"calls of the API": calls, **{f"rows of {name}": rows for name, (rows, _) in growth.items()}}
    counted |= {name: statements[name] / 8 for name in ("INSERT", "UPDATE", "DELETE")}
    for name, number in counted.items():
        (said,) = re.findall(rf"^{name} +([\d.]+) ", PAGE, re.MULTILINE)
        assert f"{number:.1f}" == said, name
