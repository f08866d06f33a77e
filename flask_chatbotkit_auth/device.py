"""The name of a device, such as "Chrome on Android", from its user agent."""

from __future__ import annotations

from .languages import ENGLISH, Language

# The order matters: most browsers also name other browsers, and the more specific name decides.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


def device_name(user_agent: str | None, language: Language = ENGLISH) -> str | None:
    """Return a name such as ``"Chrome on Android"``, or ``None`` if neither browser nor system is recognised.

    The name contains only words from this file, since a client can write anything into the header, and mails show the name.
    """
    text = user_agent or ""
    browser = next((name for sign, name in _BROWSERS if sign in text), None)
    system = next((name for sign, name in _SYSTEMS if sign in text), None)
    if browser and system:
        return _both(browser, system, language)
    return browser or system


def translated(name: str, language: Language) -> str:
    """Return the English result of :func:`device_name`, as the store keeps it, in a language."""
    browser, found, system = name.partition(" on ")
    return _both(browser, system, language) if found else name


def _both(browser: str, system: str, language: Language) -> str:
    # Translators: such as "Chrome on Android"
    return language.gettext("%(browser)s on %(system)s", browser=browser, system=system)
