"""``python -m benchmarks.reading [--since COMMIT …]``: how easy each page of the documentation is to read.

It needs ``pip install "textstat==0.7.3" "setuptools<81"``; later releases of textstat download a dictionary first. Each
column is the Flesch reading ease of a page and, in brackets, the words of an average sentence: 60 and more is plain English.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LEFT_OUT = {"api", "changelog", "contributing", "reference", "sessions-table", "proof"}
"""Pages that are made from code or other files."""


def prose(source: str) -> str:
    """Return the sentences of a page; code, tests and markup are left out, and a name of the code counts as one word."""
    source = source.partition("\n.. for-auditors\n")[0].replace(".. warning::", "").replace(".. note::", "")
    source = re.sub(r"(?ms)^=+  =[= ]*$.*?^=+  =[= ]*$\n(?=\n)", "", source)  # tables of numbers
    source = re.sub(r"(?ms)^```.*?^```$|<!--.*?-->|<[^<>`]*>|^#+ |\]\([^)]+\)", "", source)  # of Markdown
    lines: list[str] = []
    directive = -1  # how far the directive is indented that is being skipped
    for line in source.splitlines():
        indent = len(line) - len(line.lstrip())
        table = re.match(r" *\.\. (list-table|container)::", line)
        if line.strip() and directive >= 0 and indent <= directive:
            directive = -1
        if re.match(r" *\.\. ", line) and not table:
            directive = indent
        if directive >= 0 or table or re.match(r" *:[\w-]+:(?!`)|[=~^\"-]{3,}|[|+=]", line):
            continue
        if line.rstrip().endswith("::"):
            directive = indent
            line = line.rstrip()[:-1]
        begins = re.match(r" *(?:\* - |- |#\. |\d+\. |\* )", line)
        lines.append(f"\n\n{line[begins.end() :]}" if begins else line)
    text = "\n".join(lines)
    text = re.sub(r":test:`[^`]+`,?", "", text)
    text = re.sub(r":\w+:`([^`<]+?)(?: <[^`]+>)?`", lambda found: _plain(found[1]), text)
    text = re.sub(r"``[^`]+``", "name", text)
    text = re.sub(r"`([^`<]+?) <[^`]+>`_+", r"\1", text).replace("*", "")
    parts = [" ".join(each.split()) for each in re.split(r"\n\s*\n", text)]
    return "\n".join(each if each[-1] in ".?!:" else f"{each}." for each in parts if re.search(r"\w{2}", each))


def _plain(name: str) -> str:
    return "name" if re.search(r"[._~()]", name) else name


def measured(source: str) -> str:
    """Return the reading ease of a page and the words of a sentence."""
    textstat: Any = import_module("textstat")
    text = prose(source)
    if len(text.split()) < 30:
        return "–"
    return f"{textstat.flesch_reading_ease(text):.0f} ({textstat.avg_sentence_length(text):.0f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("--since", action="append", default=[], help="a commit to compare with; again for more")
    since = parser.parse_args().since
    print("page".ljust(22), *(each[:12].rjust(12) for each in [*since, "now"]))
    for path in sorted([*DOCS.glob("*.rst"), ROOT / "README.md"]):
        if path.stem not in LEFT_OUT:
            name = path.relative_to(ROOT).as_posix()
            figures = [measured(_then(commit, name)) for commit in since]
            print(path.stem.ljust(22), *(each.rjust(12) for each in [*figures, measured(path.read_text("utf-8"))]))


def _then(commit: str, name: str) -> str:
    found = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout


if __name__ == "__main__":
    main()
