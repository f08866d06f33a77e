"""Print the lowest versions of all that the installed package may need, as constraints for pip.

Tests that run with these tell whether the bounds in ``pyproject.toml`` are true. What only tests need stays at its newest.
"""

from __future__ import annotations

from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.version import Version

NAME = "flask-chatbotkit-auth"


def lowest() -> list[str]:
    """Return a line such as ``Flask==3.0`` for each requirement of the package and of its extras for applications."""
    needed = [Requirement(line) for line in requires(NAME) or ()]
    extras = {extra for each in needed if each.name == NAME and _is_of("all", each) for extra in each.extras}
    bounds: dict[str, Version] = {}
    for each in needed:
        for bound in each.specifier:
            if bound.operator == ">=" and (each.marker is None or any(_is_of(extra, each) for extra in extras)):
                # Of what two extras need, both get what the stricter one asks for.
                bounds[each.name] = max(Version(bound.version), bounds.get(each.name, Version("0")))
    return [f"{name}=={version}" for name, version in bounds.items()]


def _is_of(extra: str, requirement: Requirement) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


if __name__ == "__main__":
    print(*lowest(), sep="\n")  # noqa: T201
