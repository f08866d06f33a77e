"""``python -m benchmarks [name …]``: all of them, quickly, or those that are named."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

BENCHMARKS = ("page", "sign_in", "store", "client", "imports", "load", "trace")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--package", help="a checkout whose package the measured servers use, in place of this one")
    given = parser.parse_args()
    names = given.name or BENCHMARKS
    unknown = set(names) - set(BENCHMARKS) - {"count"}
    if unknown:
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join((*BENCHMARKS, 'count'))}")
    if given.package:
        os.environ["BENCHMARK_PACKAGE"] = os.path.abspath(given.package)
    for name in names:
        import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    main()
