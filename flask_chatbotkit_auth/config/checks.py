"""The settings that need each other, checked together."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from .table import Config


def check_together(config: Config) -> None:
    """Raise unless each capability that is on has the settings and the library that it needs.

    :raises ConfigurationError: one is missing, or does not fit the others.
    """
    if config.notices and config.origin is None:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_NOTICES needs CHATBOTKIT_AUTH_ORIGIN, to link to your site. Set it, for example to "
            '"https://shop.example.com".'
        )
    if config.mail_link and config.origin is None:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_MAIL_LINK needs CHATBOTKIT_AUTH_ORIGIN, which the link begins with. Set it, for example to "
            '"https://shop.example.com".'
        )
    _check_passkeys(config)


def _check_passkeys(config: Config) -> None:
    if not config.passkeys:
        return
    if config.origin is None:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_PASSKEYS needs CHATBOTKIT_AUTH_ORIGIN, since passkeys belong to a site. Set it, for example to "
            '"https://shop.example.com".'
        )
    host = (urlsplit(config.origin).hostname or "").rstrip(".")
    domain = config.passkey_rp_id or host
    if not all(_is_within(urlsplit(each).hostname or "", domain) for each in (config.origin, *config.passkey_origins)):
        raise ConfigurationError(
            f"CHATBOTKIT_AUTH_PASSKEY_RP_ID is {domain!r}: it must be the host of CHATBOTKIT_AUTH_ORIGIN and of each of "
            "CHATBOTKIT_AUTH_PASSKEY_ORIGINS, or a parent domain of them."
        )
    if find_spec("webauthn") is None:
        raise ConfigurationError(
            'CHATBOTKIT_AUTH_PASSKEYS needs the webauthn library: pip install "flask-chatbotkit-auth[passkeys]"'
        )


def _is_within(host: str, domain: str) -> bool:
    return host == domain or ("." in domain and host.endswith(f".{domain}"))
