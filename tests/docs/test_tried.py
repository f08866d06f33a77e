"""The table of what the package was tried with, and the command that writes it."""

from __future__ import annotations

import csv
import platform
from pathlib import Path

import pytest

from tests.support.tried import ROOT, ROWS, TABLE, Row, cell, write

EVERY = [row for rows in ROWS.values() for row in rows]
ROW = Row("a server", lambda: "2.1", "tests/test_servers.py::test_server", "sync")
OURS = f"Python {platform.python_version()}"


def read(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_table_has_the_rows_that_are_tried_and_each_was() -> None:
    rows = read(TABLE)
    assert [(row.pop("Kind"), row.pop("Name")) for row in rows] == [
        (kind, row.name) for kind, each in ROWS.items() for row in each
    ]
    assert all(any(row.values()) and "failed" not in row.values() for row in rows)


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_the_tests_of_a_row_are_there(row: Row) -> None:
    path, _, name = row.test.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not name or f"def {name}(" in text or f"class {name}(" in text


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"[sync]": "passed"}, "2.1"),
        ({"[sync]": "passed", "[sync-https]": "skipped"}, "2.1"),
        ({"[sync]": "passed", "[https-sync]": "failed"}, "failed"),
        ({"[sync]": "skipped", "[gevent]": "failed", "_else[sync]": "failed"}, ""),
    ],
)
def test_a_cell_is_the_version_that_passed(outcomes: dict[str, str], expected: str) -> None:
    assert cell(ROW, {f"{ROW.test}{words}": outcome for words, outcome in outcomes.items()}) == expected


def test_a_row_without_a_test_is_not_passed_over() -> None:
    with pytest.raises(LookupError, match="a server"):
        cell(ROW, {f"{ROW.test}[gevent]": "passed"})


def test_a_column_takes_the_place_of_its_own_python_alone(tmp_path: Path) -> None:
    table = tmp_path / "tried.csv"
    minor = OURS.rpartition(".")[0]
    table.write_text(f'Kind,Name,Python 3.9.1,{minor}.77\nServer,"{EVERY[0].name}",1.0,1.5\nServer,gone,1.0,1.5\n')
    write(table, {row.name: "2.0" for row in EVERY})
    rows = read(table)
    assert list(rows[0]) == ["Kind", "Name", "Python 3.9.1", OURS]
    assert [row[OURS] for row in rows] == ["2.0"] * len(EVERY)
    assert [row["Python 3.9.1"] for row in rows] == ["1.0", *[""] * (len(EVERY) - 1)]
