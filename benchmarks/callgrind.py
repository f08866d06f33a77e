"""A server whose application's instructions are counted by callgrind."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from .servers import Server

SWITCHES = Path(__file__).with_name("switches.c")


def missing() -> str | None:
    """Return what is missing for counting, in one sentence, or ``None``."""
    if shutil.which("valgrind") is None:
        return "Counting instructions needs valgrind, which is not installed: apt-get install valgrind"
    if shutil.which("cc") is None:
        return "Counting instructions needs a C compiler for one small file: apt-get install gcc libc6-dev"
    return None


class CountedServer(Server):
    """An application in one process of one thread, whose work is counted where :meth:`count` asks for it."""

    patience = 600
    """Seconds until it is up: valgrind is slow."""

    def __init__(self, application: str, settings: Mapping[str, str]) -> None:
        # The same order of sets and dictionaries in every run.
        super().__init__(application, {"PYTHONHASHSEED": "0", **settings})

    def _command(self, application: str, socket: int, workers: int, threads: int) -> list[str]:
        library = self.folder / "switches.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SWITCHES], check=True)
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--quiet"]
        command += [f"--callgrind-out-file={self.folder}/counted.%p"]
        command += super()._command(application, socket, workers, threads)
        return [*command, "--worker-class", "benchmarks.counted.Worker", "--timeout", "0"]

    def count(self, action: Callable[[], object]) -> Counter[str]:
        """Return the instructions that the server spends on what ``action`` asks of it, by cause."""
        for file in self._written():
            file.unlink()
        switch = self.folder / "counting"
        switch.touch()
        try:
            action()
        finally:
            switch.unlink()
        self.browser().get("/counts")  # served after the last one was written down
        counts: Counter[str] = Counter()
        for file in self._written():
            head = dict(line.partition(": ")[::2] for line in _head(file))
            counts[head["desc"].removeprefix("Trigger: Client Request: ")] += int(head["summary"])
        return counts

    def _written(self) -> list[Path]:
        return list(self.folder.glob("counted.*.*"))


def _head(file: Path) -> list[str]:
    with file.open() as lines:
        return [line.rstrip("\n") for line, _ in zip(lines, range(20), strict=False)]
