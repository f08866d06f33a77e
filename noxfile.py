"""The same checks in many environments: ``nox -l`` lists them, ``nox -s tests-3.12 -- tests/flows`` runs part of one.

What must hold before each change is in ``.ci/run``, which needs none of this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]

nox.options.sessions = ["lint", "types", "docs", "wheel", "tests", "lowest"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the newest release of everything."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the tests with what is to come: pre-releases of everything."""
    session.install("--pre", "--upgrade", "--upgrade-strategy", "eager", "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest version that pyproject.toml allows of each thing the package needs."""
    session.install("-e", ".", "packaging")
    constraints = session.cache_dir / f"{session.name}.txt"
    constraints.write_text(session.run("python", "tests/packaging/lowest.py", silent=True) or "", encoding="utf-8")
    session.install("-e", ".[test]", "-c", str(constraints))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def servers(session: nox.Session) -> None:
    """Sign people in under every server that people run Flask with, each required."""
    session.install("-e", ".[test,beside]")
    session.run("python", "-m", "pytest", "-m", "servers", "--require-services", *session.posargs)


@nox.session(python="3.11")
def engines(session: nox.Session) -> None:
    """Run the store's tests on the database engines that the gate does not start, each required."""
    session.install("-e", ".[test,beside]")
    session.run("python", "-m", "pytest", "-m", "engines", "--require-services", *session.posargs)


@nox.session(python="3.11")
def operations(session: nox.Session) -> None:
    """Run failovers, poolers, clusters and outages, each required."""
    session.install("-e", ".[test,beside]")
    session.run("python", "-m", "pytest", "-m", "operations", "--require-services", *session.posargs)


@nox.session(python=PYTHONS)
def tried(session: nox.Session) -> None:
    """Run what has a row in docs/tried.csv, and write the column of each Python."""
    session.install("-e", ".[test,beside]")
    session.run("python", "-m", "tests.support.tried", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Run the tests of the sdist against the installed wheel, with no source of the package in sight."""
    built = _build(session)
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    session.run("python", "tests/packaging/archives.py", str(built))
    session.install(f"{wheel}[test]")
    session.run("tar", "xzf", str(sdist), "-C", str(built), external=True)
    (unpacked,) = (each for each in built.iterdir() if each.is_dir())
    shutil.rmtree(unpacked / "flask_chatbotkit_auth")
    with session.chdir(unpacked):
        session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check an application against the types of the installed wheel, and that every public symbol has one."""
    built = _build(session)
    (wheel,) = built.glob("*.whl")
    session.install(str(wheel), "pytest", "mypy", "basedpyright")
    shutil.copy("tests/packaging/consumer.py", built)
    with session.chdir(built):
        session.run("mypy", "--strict", "--disable-error-code=import-untyped", "consumer.py")
        # Pyright, with what it needs to run inside its own wheel.
        session.run("basedpyright", "--verifytypes", "flask_chatbotkit_auth", "--ignoreexternal")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and layers."""
    session.install("-e", ".[test,lint,docs]", "nox")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html."""
    session.install("-e", ".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


def _build(session: nox.Session) -> Path:
    # Not below the session's interpreter, where Flask keeps the instances of all applications in one place.
    folder = session.cache_dir.resolve() / session.name
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(folder), ".", silent=True)
    return folder
