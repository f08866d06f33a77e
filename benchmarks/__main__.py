"""``python -m benchmarks [name …]``: all of them, quickly, or those that are named."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

BENCHMARKS = ("page", "sign_in", "store", "client", "imports", "load", "trace")

BY_NAME = ("count", "feel")
"""Run only where they are named: they take minutes, or a browser."""


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS + BY_NAME))
    parser.add_argument("--package", help="a checkout whose package the measured servers use, in place of this one")
    parser.add_argument("--before", help="a checkout that `count` tells the causes of beside those of this one")
    given = parser.parse_args()
    names = given.name or BENCHMARKS
    unknown = set(names) - set(BENCHMARKS) - set(BY_NAME)
    if unknown:
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join(BENCHMARKS + BY_NAME)}")
    for name in ("package", "before"):
        if path := getattr(given, name):
            os.environ[f"BENCHMARK_{name.upper()}"] = os.path.abspath(path)
    for name in names:
        import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    main()
