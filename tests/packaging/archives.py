"""What the wheel and the sdist hold, compared with the repository: run by the gate with the folder that they are in."""

from __future__ import annotations

import email
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "flask_chatbotkit_auth"
LEFT_OUT = {"__pycache__", "_build", "instance"}
EXTRAS = {"all", "mysql", "postgresql", "redis", "test"}
PYTHONS = {"3.11", "3.12", "3.13", "3.14", "3.15"}


def files_under(*names: str) -> set[str]:
    """Return the files of the repository below the given folders, as paths from its root."""
    found = (path for name in names for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if not LEFT_OUT.intersection(path.parts)}


def check_wheel(path: Path) -> None:
    """The whole package but for the sources of its translations, and nothing beside it."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
        points = wheel.read(f"{info}/entry_points.txt").decode()
    package = {name for name in names if not name.startswith(f"{info}/")}
    sources = {name for name in files_under(PACKAGE) if name.endswith((".po", ".pot"))}
    compare("the wheel", package, files_under(PACKAGE) - sources)
    for name in sources:
        catalogue = str(Path(name).with_suffix(".mo"))
        assert name.endswith(".pot") or catalogue in package, f"{catalogue} was not compiled"
    assert f"{PACKAGE}/py.typed" in package
    assert "[pytest11]" in points, points
    assert "[flask.commands]" in points, points
    for field in ("Summary", "Author", "License-Expression", "License-File", "Keywords", "Description-Content-Type"):
        assert metadata[field], field
    assert metadata["Requires-Python"] == ">=3.11", metadata["Requires-Python"]
    assert set(metadata.get_all("Provides-Extra", [])) >= EXTRAS
    classifiers = metadata.get_all("Classifier", [])
    assert {each.rpartition(" :: ")[2] for each in classifiers} >= {*PYTHONS, "Typed", "Flask"}, classifiers
    assert len(metadata.get_payload()) > 1000, "the README is the long description"


def check_sdist(path: Path) -> None:
    """All that is needed to run the tests, build the documentation and check the package."""
    with tarfile.open(path) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    names = {name for name in names if ".egg-info/" not in name and name != "PKG-INFO"}
    top = {
        str(each.relative_to(ROOT)) for pattern in ("*.md", "*.py", "*.toml", "*.yaml") for each in ROOT.glob(pattern)
    }
    wanted = files_under(".ci", ".github", "benchmarks", "docs", "example_app", PACKAGE, "tests")
    dotted = {".gitignore", ".pre-commit-config.yaml"}
    compare("the sdist", names, wanted | top | dotted | {"LICENSE", "MANIFEST.in", "setup.cfg"})


def compare(what: str, found: set[str], wanted: set[str]) -> None:
    assert found == wanted, f"{what} lacks {sorted(wanted - found)} and has {sorted(found - wanted)} too many"


def main(folder: str) -> None:
    (wheel,) = Path(folder).glob("*.whl")
    (sdist,) = Path(folder).glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    print(f"{wheel.name} and {sdist.name} hold what they should")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
