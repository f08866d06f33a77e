"""The catalogues of the twelve languages, read for tests."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

import flask_chatbotkit_auth
from flask_chatbotkit_auth.languages import DOMAIN

PACKAGE = Path(flask_chatbotkit_auth.__file__).parent
LANGUAGES = ["ar", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "tr", "zh"]
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)

Key = Any  # a sentence, its singular and plural, or its context and itself


class Said(NamedTuple):
    """A sentence that means one thing in one context."""

    context: str
    sentence: str


def read(path: Path, language: str | None = None) -> Catalog:
    """Return the catalogue in the file ``path``."""
    with path.open("rb") as file:
        return read_po(file, language)


def catalogue(language: str) -> Catalog:
    """Return our catalogue of ``language``; the test is skipped where only the compiled one is installed."""
    path = PACKAGE / "translations" / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not path.is_file():
        pytest.skip("what the catalogues are compiled from is in a checkout alone")
    return read(path, language)


def key_of(message: Any) -> Key:
    """Return what a sentence is looked up by: itself, or its context and itself."""
    return Said(message.context, message.id) if message.context else message.id


def forms(string: Any) -> list[str]:
    """Return every plural form of a sentence, or the sentence alone."""
    return [string] if isinstance(string, str) else list(string)


def compiled(catalog: Catalog) -> bytes:
    """Return ``catalog`` as it is read at run time."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()
