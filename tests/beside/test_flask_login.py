"""Flask-Login's own tests, on applications that carry the extension: they pass, or fail by design for a reason named here."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BY_DESIGN = {
    "test_no_user_loader_raises": "we are a user_loader: nothing is missing any more",
    "test_unauthorized_aborts_with_401": "without a login_view of the application people are led to our sign-in page",
    "test_login_required_decorator": "likewise: a redirect to our sign-in page, and no 401",
    "test_login_required_decorator_with_async": "likewise",
    "test_needs_refresh_aborts_401": "without a refresh_view of the application our sign-in page proves the person again",
    "test_fresh_login_required_decorator": "likewise",
    "test_login_invalid_user_with_request_when_already_logged_in": "users of the application's own that have only a "
    "request_loader: login_user would sign nobody in, so it raises and names the user_loader that is missing",
    "test_login_via_request_uses_cookie_when_already_logged_in": "likewise",
}


@pytest.fixture(scope="module")
def suite(source_of: Callable[[str], Path]) -> Path:
    """The folder of Flask-Login's tests."""
    return source_of("Flask-Login==0.6.3") / "tests"


def failures(suite: Path, report: Path, *options: str) -> tuple[int, dict[str, str]]:
    """Run the tests; return how many there were, and the text of each that failed by its name."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        "/dev/null",
        "--rootdir",
        str(suite),
        "-W",
        "ignore",
        *options,
    ]
    unused = [
        each for name in ("chatbotkit_auth", "cacheprovider", "schemathesis", "xdist") for each in ("-p", f"no:{name}")
    ]
    run = subprocess.run(
        [*command, *unused, "--junit-xml", str(report), str(suite)],
        cwd=ROOT,
        # Not with the options of this run, which their project does not have.
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    cases = ET.parse(report).getroot().findall(".//testcase")  # noqa: S314  # our own
    broken = {
        case.attrib["name"]: each.text or ""
        for case in cases
        for each in (*case.findall("failure"), *case.findall("error"))
    }
    return len(cases), broken


def test_its_own_tests_pass_beside_us(suite: Path, tmp_path: Path) -> None:
    count, without = failures(suite, tmp_path / "without.xml")
    assert (count, without) == (114, {})
    count, with_us = failures(suite, tmp_path / "with.xml", "-p", "tests.support.with_extension")
    assert count == 114
    assert with_us.keys() == BY_DESIGN.keys()
