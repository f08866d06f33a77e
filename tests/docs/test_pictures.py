"""The pictures of the documentation: each guide has one, or the output of a command, before it explains anything."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests.support.pictures import names
from tests.support.samples import DOCS, PAGES, ROOT

IMAGES = DOCS / "images"
NO_GUIDE = {
    *("api", "configuration", "reference", "faq", "changelog", "sessions-table"),  # to look something up
    *("contributing", "layout", "proof", "platform", "benchmarks", "security", "performance", "tried"),
}
GUIDES = [path for path in PAGES if path.stem not in NO_GUIDE]
README = ROOT / "README.md"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_a_guide_begins_with_what_the_reader_will_have_and_a_picture_of_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    begin = re.split(r"\n.+\n-{3,}\n", text)[0]
    shown = re.search(r"\.\. image::|:name: console-|:name: metrics-shown|code-block:: json|\.svg|::\n\n +\S", begin)
    assert shown, "no picture, and no output of a command, before the second heading"


def test_every_picture_is_taken_by_the_command_and_shown() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in [*PAGES, README])
    used = set(re.findall(r"images/([\w-]+\.png)", texts))
    assert used == {path.name for path in IMAGES.iterdir()} == names()


def test_every_picture_has_an_alternative_text() -> None:
    for path in PAGES:
        for name, options in re.findall(r"\.\. image:: (\S+)\n((?: +:\w+:.*\n)*)", path.read_text(encoding="utf-8")):
            assert re.search(r":alt: \S.{20,}", options), f"{path.name}: {name}"
    for tag in re.findall(r"<img [^>]+>", README.read_text(encoding="utf-8")):
        assert re.search(r'alt="[^"]{20,}"', tag)


@pytest.mark.parametrize("path", sorted(IMAGES.iterdir()), ids=lambda path: path.name)
def test_a_picture_is_small(path: Path) -> None:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 60_000
    width, height = struct.unpack(">II", data[16:24])
    assert width <= 1280
    assert height <= 1280
