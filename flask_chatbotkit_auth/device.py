"""A user agent in words that its owner recognises."""

from __future__ import annotations

from .languages import ENGLISH, Language

# The order matters: most browsers name others, too, and the more special name decides.
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
    """Return such as ``"Chrome on Android"``; ``None`` where nothing is recognised.

    Only words of our own are returned: the header is the client's to write, and mails and pages show this.
    """
    text = user_agent or ""
    browser = next((name for sign, name in _BROWSERS if sign in text), None)
    system = next((name for sign, name in _SYSTEMS if sign in text), None)
    if browser and system:
        # Translators: such as "Chrome on Android"
        return language.gettext("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or system
