"""What applications build on changes on purpose, or not at all."""

from __future__ import annotations

import ast
import re
from difflib import unified_diff
from pathlib import Path

import pytest

import flask_chatbotkit_auth
from tests.packaging import consumer
from tests.support import public_api

ROOT = Path(__file__).parent.parent


def changes() -> str:
    """Return what differs from the snapshot, with the way to renew it; nothing where nothing does."""
    snapshot = public_api.SNAPSHOT.read_text(encoding="utf-8").splitlines()
    lines = list(unified_diff(snapshot, public_api.text().splitlines(), "as released", "as it is", lineterm="", n=1))
    if not lines:
        return ""
    cure = "The public API changed. If that is meant, tell in CHANGELOG.md and run: python -m tests.support.public_api"
    return "\n".join([cure, *lines])


def test_the_public_api_is_as_it_was_written_down() -> None:
    assert changes() == ""


def test_a_default_that_changes_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = flask_chatbotkit_auth.EmailCodeProvider.__init__.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "length", 7)
    told = changes()
    assert "python -m tests.support.public_api" in told
    assert re.search(r"^\+ .*length: int = 7", told, re.MULTILINE)


def test_a_name_that_vanishes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flask_chatbotkit_auth, "__all__", ["User"])
    monkeypatch.setitem(public_api.MODULES, "flask_chatbotkit_auth", flask_chatbotkit_auth.__all__)
    assert "\n-current_auth" in changes()


def test_the_snapshot_covers_the_reference() -> None:
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. (?:autoclass|autofunction|autodata|data):: ([\w.]+)", page, re.MULTILINE))
    written = {f"{module}.{name}" for module, names in public_api.MODULES.items() for name in names}
    named = {name.replace("flask_chatbotkit_auth.signals.", "flask_chatbotkit_auth.") for name in named}
    # The table of settings stands for this one.
    assert named - {"flask_chatbotkit_auth.config.Config"} <= written


def test_the_typed_consumer_uses_every_public_name() -> None:
    tree = ast.parse(Path(consumer.__file__).read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(flask_chatbotkit_auth.__all__) <= used
