"""The language of a page or a mail: that of Flask-Babel if the application uses it, else English."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING

from flask import has_app_context, has_request_context
from markupsafe import escape

from .proxies import running_app

if TYPE_CHECKING:
    from babel import Locale

_log = logging.getLogger("flask_chatbotkit_auth")

DOMAIN = "flask_chatbotkit_auth"
"""The gettext domain of our sentences. An application's own catalogues of this domain take precedence over ours."""

_OURS = str(Path(__file__).with_name("translations"))


@dataclass(frozen=True)
class Language:
    """The translations, dates and plural forms of one language.

    :param tag: for ``lang`` attributes (BCP 47), such as ``"pt-BR"``.
    :param direction: for ``dir`` attributes, ``"ltr"`` or ``"rtl"``.
    :param date: returns the day of an aware time in words, in the time's own zone.
    :param ago: returns how long ago something was, such as ``"2 hours ago"``; at least one minute.
    :param samples: for each plural category of the language (CLDR), a number of that category. A script can then choose the
        right sentence with ``Intl.PluralRules``.
    """

    tag: str
    direction: str
    date: Callable[[datetime], str]
    ago: Callable[[timedelta], str]
    samples: Mapping[str, int]
    _catalogue: NullTranslations

    def gettext(self, message: str, /, **values: object) -> str:
        """Return ``message`` in this language with ``values`` filled in.

        If a value is markup, the result is markup, and everything else in it is escaped. So a sentence can contain an address
        in bold, at the place where the language needs it.
        """
        sentence = self._catalogue.gettext(message)
        return _fill(sentence, message, values) if values else sentence

    def pgettext(self, context: str, message: str, /, **values: object) -> str:
        """Return the translation of ``message`` in ``context``. One English sentence can have several translations."""
        sentence = self._catalogue.pgettext(context, message)
        return _fill(sentence, message, values) if values else sentence

    def ngettext(self, singular: str, plural: str, number: int, /, **values: object) -> str:
        """Return the plural form for ``number`` with ``values`` filled in. ``%(num)s`` is the number by default."""
        sentence = self._catalogue.ngettext(singular, plural, number)
        return _fill(sentence, singular if number == 1 else plural, {"num": number, **values})


def _english_ago(time: timedelta) -> str:
    minutes = max(1, round(time.total_seconds() / 60))
    size, unit = (1, "minute") if minutes < 60 else (60, "hour") if minutes < 24 * 60 else (24 * 60, "day")
    number = round(minutes / size)
    return f"{number} {unit}{'' if number == 1 else 's'} ago"


ENGLISH = Language(
    "en",
    "ltr",
    lambda day: f"{day.day} {day:%B %Y}",
    _english_ago,
    {"one": 1, "other": 0},
    NullTranslations(),
)
"""The language of the pages without Flask-Babel, and of the commands."""


def current_language() -> Language:
    """Return the language of this request: that of Flask-Babel, or English if there is no catalogue for it.

    Outside a request it is the locale of ``flask_babel.force_locale``, or else of the application's ``locale_selector``. If
    that function needs a request, it is ``BABEL_DEFAULT_LOCALE``.
    """
    babel = running_app().extensions.get("babel") if has_app_context() else None
    if babel is None:
        return ENGLISH
    from flask_babel import get_locale  # the application has already imported it

    try:
        locale = get_locale()
    except RuntimeError:
        if has_request_context():
            raise
        locale = babel.instance.default_locale
    return _language(locale, tuple(babel.translation_directories))


def gettext(message: str, /, **values: object) -> str:
    """Return ``message`` in the language of this request with ``values`` filled in."""
    return current_language().gettext(message, **values)


def pgettext(context: str, message: str, /, **values: object) -> str:
    """Return the translation of ``message`` in ``context``, in the language of this request."""
    return current_language().pgettext(context, message, **values)


def ngettext(singular: str, plural: str, number: int, /, **values: object) -> str:
    """Return the plural form for ``number`` in the language of this request, as :meth:`Language.ngettext` does."""
    return current_language().ngettext(singular, plural, number, **values)


def N_(message: str) -> str:
    """Mark ``message`` for the catalogues. It is in a table, and is translated when it is shown."""
    return message


@lru_cache(maxsize=128)
def _language(locale: Locale, directories: tuple[str, ...]) -> Language:
    from babel import Locale
    from babel.dates import format_date, format_timedelta

    # The catalogues are chained and not merged, since each has its own rule for plural forms.
    catalogue = NullTranslations()
    known = locale.language == "en"
    for directory in (*directories, _OURS):
        for name in _inherited(locale):
            path = Path(directory, name, "LC_MESSAGES", f"{DOMAIN}.mo")
            if path.is_file():
                try:
                    with path.open("rb") as file:
                        catalogue.add_fallback(GNUTranslations(file))
                except (OSError, ValueError, struct.error) as error:
                    # A damaged catalogue must not keep people from signing in.
                    _log.error("%s cannot be read as a catalogue (%s); compile it again", path, type(error).__name__)
                else:
                    known = True
    if not known:
        return _language(Locale("en"), directories)
    return Language(
        tag="-".join(filter(None, (locale.language, locale.script, locale.territory))),
        direction=locale.text_direction,
        date=lambda moment: format_date(moment, "long", locale),
        ago=lambda time: format_timedelta(-max(time, timedelta(minutes=1)), add_direction=True, locale=locale),
        samples={locale.plural_form(number): number for number in range(100, -1, -1)},
        _catalogue=catalogue,
    )


def _inherited(locale: Locale) -> Iterator[str]:
    """Yield the names of possible catalogues.

    For ``de_AT`` these are ``de_AT`` and ``de``. For ``zh_Hant``, ``zh`` is left out, since it is written in another script.
    """
    from babel.core import get_global

    usual = get_global("likely_subtags").get(locale.language, "").split("_")
    name = str(locale)
    while name:
        if name != locale.language or locale.script is None or locale.script in usual:
            yield name
        name = name.rpartition("_")[0]


def _fill(sentence: str, english: str, values: Mapping[str, object]) -> str:
    if any(hasattr(value, "__html__") for value in values.values()):
        sentence, english = escape(sentence), escape(english)
    try:
        return sentence % values
    except (KeyError, TypeError, ValueError):
        # Our catalogues are tested, but an application's own can have a wrong placeholder.
        _log.error("the translation of %r has wrong placeholders", english)
        return english % values
