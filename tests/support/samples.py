"""The samples of the documentation: every block of code on every page, and a terminal to run commands in."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
MARKDOWN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]

_FENCED = re.compile(r"^```(?P<language>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\S+)\n(?P<options>(?:(?P=indent)   :.*\n)*)\n"
    r"(?P<code>(?:(?:(?P=indent)   .*)?\n)+)",
    re.MULTILINE,
)


class Block(NamedTuple):
    where: str
    name: str
    code: str
    language: str


def blocks_of(path: Path) -> Iterator[Block]:
    """Yield the blocks of a page in reStructuredText or Markdown."""
    text = path.read_text(encoding="utf-8")
    for match in (_FENCED if path.suffix == ".md" else _DIRECTIVE).finditer(text):
        name = re.search(r":name: (\S+)", match.groupdict().get("options") or "")
        line = text.count("\n", 0, match.start("code")) + 1
        code = textwrap.dedent(match["code"]).rstrip("\n") + "\n"
        yield Block(f"{path.name}:{line}", name[1] if name else "", code, match["language"])


SAMPLES = [block for path in [*MARKDOWN, *PAGES] for block in blocks_of(path)]


def sample(name: str) -> Block:
    """Return the block of that name."""
    return next(block for block in SAMPLES if block.name == name)


def written_in(*languages: str) -> list[Block]:
    """Return the blocks of some languages."""
    return [block for block in SAMPLES if block.language in languages]


def sample_lines(page: str, *languages: str) -> list[str]:
    """Return every line of a page's blocks in some languages."""
    return [
        line
        for block in written_in(*languages)
        if block.where.startswith(f"{page}:")
        for line in block.code.splitlines()
    ]


def files(folder: Path, prefix: str) -> list[Block]:
    """Write every block whose name begins with ``prefix`` into ``folder``, as the file that the rest of its name names."""
    found = [block for block in SAMPLES if block.name.startswith(prefix)]
    for block in found:
        (folder / f"{block.name.removeprefix(prefix)}.py").write_text(block.code, encoding="utf-8")
    return found


@contextmanager
def running(folder: Path, command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command of the documentation as a terminal does, with this Python's environment active."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FLASK_", "CHATBOTKIT_", "PYTEST_"))}
    process = subprocess.Popen(
        shlex.split(command, comments=True),
        cwd=folder,
        env={**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def run(folder: Path, command: str, **environment: str) -> str:
    """Run a command to its end, and return what it prints."""
    with running(folder, command, **environment) as process:
        out, _ = process.communicate(timeout=180)
    assert process.returncode == 0, f"$ {command}\n{out}"
    return out


def replay(transcript: Block, folder: Path, **environment: str) -> None:
    """Run the commands of a transcript; each must print what stands below it, where ``…`` is anything."""
    for part in re.split(r"^\$ ", transcript.code, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        printed = "".join(f"{line.rstrip()}\n" for line in run(folder, command, **environment).splitlines())
        pattern = re.escape(expected.rstrip("\n") + "\n").replace("…\\\n", "(?:.*\\n)+?").replace("…", ".+")
        assert re.fullmatch(pattern, printed), f"$ {command}\n{printed}"
