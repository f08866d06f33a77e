"""How the repository is laid out: what tests import from each other, and how many layers the package has."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"


def wrong_imports(tree: ast.Module) -> Iterator[str]:
    """Yield what a test imports from ``conftest``, from another test, or behind the public names of the test kit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [f"{'.' * node.level}{node.module or ''}.{each.name}" for each in node.names]
        else:
            continue
        for name in named:
            parts = name.split(".")
            kit = name.startswith("flask_chatbotkit_auth.testing")
            if "conftest" in parts or any(each.startswith("test_") for each in parts) or (kit and parts[-1][0] == "_"):
                yield name


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_a_test_imports_only_what_is_meant_to_be_shared(path: Path) -> None:
    assert list(wrong_imports(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "line",
    [
        "from conftest import make_app",
        "from tests.conftest import make_app",
        "from ..conftest import make_app",
        "import tests.web.test_views",
        "from tests.web import test_views",
        "from tests.web.test_views import ask",
        "from flask_chatbotkit_auth.testing.plugin import _post",
    ],
)
def test_an_import_that_is_not_meant_is_found(line: str) -> None:
    assert len(list(wrong_imports(ast.parse(line)))) == 1


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def layers() -> list[list[str]]:
    """Return the names of each layer, the highest first."""
    lines = contracts()["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.strip() for name in line.split("|")] for line in lines if line.strip()]


def test_there_are_at_most_twelve_layers_from_the_extension_down_to_the_exceptions() -> None:
    found = layers()
    assert len(found) <= 12
    assert found[0] == ["extension"]
    assert "exceptions" in found[-1]


def test_the_sandbox_may_import_none_of_the_layers() -> None:
    forbidden = contracts()["importlinter:contract:sandbox"]["forbidden_modules"].split()
    assert sorted(forbidden) == sorted(f"flask_chatbotkit_auth.{name}" for layer in layers() for name in layer)
