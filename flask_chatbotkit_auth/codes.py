"""Codes: how they are made, what counts as the same code, and what is stored of them."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from .exceptions import ConfigurationError
from .user import User

MINIMUM_BITS = 20
"""Entropy that a code must have (OWASP ASVS 5.0, 6.5.4)."""

Sender = Callable[[str, str, datetime, "User | None"], object]
"""What delivers a code: ``send(identifier, code, expires_at, user_or_none)``; it raises when it cannot."""


class EmailCodeProvider:
    """Makes codes and recognises them again.

    :param alphabet: the characters of a code. Case is ignored in what people type unless the alphabet has both cases.
    :param length: characters in a code.
    :param lifetime: how long a code can be used, in seconds or as a ``timedelta``; 10 minutes at most (ASVS 5.0, 6.5.5).
    :param attempts: how many wrong codes end a challenge (ASVS 5.0, 6.6.3).
    :raises ConfigurationError: a code would be too easy to guess, or people could not type it.
    """

    def __init__(
        self,
        *,
        alphabet: str = "0123456789abcdef",
        length: int = 6,
        lifetime: timedelta | int = 600,
        attempts: int = 5,
    ) -> None:
        self.alphabet = alphabet
        self.length = length
        self.lifetime: timedelta = lifetime if isinstance(lifetime, timedelta) else timedelta(seconds=lifetime)
        self.attempts = attempts
        self._check()
        self._folds = _folds(alphabet)

    @property
    def bits(self) -> float:
        """The entropy of a code in bits."""
        return self.length * math.log2(len(self.alphabet))

    @property
    def numeric(self) -> bool:
        """Whether codes are digits alone, so that a phone may show its number pad."""
        return self.alphabet.isdecimal()

    def generate(self) -> str:
        """Return a new code from the operating system's random source (ASVS 5.0, 6.5.3)."""
        return "".join(secrets.choice(self.alphabet) for _ in range(self.length))

    def normalize(self, typed: str) -> str:
        """Return the code that a person meant by ``typed``.

        Spaces, dashes and invisible characters are dropped, full-width characters become plain ones, case is ignored, and
        ``O`` is read as ``0``, ``l`` and ``I`` as ``1``, where the alphabet has the digit and not the letter.
        """
        text = unicodedata.normalize("NFKC", typed[:256])
        return "".join(self._folds.get(each, each) for each in text if not _is_filler(each))

    def digest(self, secret_key: str | bytes, challenge_id: str, identifier: str, code: str) -> str:
        """Return what is stored of ``code``: HMAC-SHA256, in hexadecimal, under a key derived from ``secret_key``.

        It covers the challenge and the identifier, so that a code opens only the address and the browser it was made
        for, and who reads the store cannot try out codes (ASVS 5.0, 6.5.2 and 6.6.2).
        """
        message = "\0".join((challenge_id, identifier, code))
        return hmac.new(_derive(secret_key), message.encode(), hashlib.sha256).hexdigest()

    def _check(self) -> None:
        if len(self.alphabet) < 2 or len(set(self.alphabet)) != len(self.alphabet):
            raise ConfigurationError("CHATBOTKIT_AUTH_CODE_ALPHABET: give two or more characters, each of them once.")
        if any(_is_filler(each) or unicodedata.normalize("NFKC", each) != each for each in self.alphabet):
            raise ConfigurationError(
                "CHATBOTKIT_AUTH_CODE_ALPHABET: leave out spaces, dashes and invisible or compatibility characters; they "
                "are dropped from what people type."
            )
        if self.bits < MINIMUM_BITS:
            enough = math.ceil(MINIMUM_BITS / math.log2(len(self.alphabet)))
            raise ConfigurationError(
                f"A code of {self.length} out of {len(self.alphabet)} characters has {self.bits:.1f} bits, fewer than the "
                f"{MINIMUM_BITS} it needs. Set CHATBOTKIT_AUTH_CODE_LENGTH to {enough} or more, or name more characters in "
                "CHATBOTKIT_AUTH_CODE_ALPHABET."
            )
        if self.length > 64:
            raise ConfigurationError("CHATBOTKIT_AUTH_CODE_LENGTH: nobody types more than 64 characters; give fewer.")
        if self.attempts < 1 or self.lifetime <= timedelta(0):
            raise ConfigurationError(
                "CHATBOTKIT_AUTH_CODE_ATTEMPTS must be at least 1 and CHATBOTKIT_AUTH_CODE_LIFETIME longer than 0."
            )


def _is_filler(character: str) -> bool:
    # Separators, dashes, control or format characters (zero-width space and the like), and halves of characters, which
    # JSON can name and nothing can encode.
    return unicodedata.category(character) in ("Zs", "Zl", "Zp", "Pd", "Cc", "Cf", "Cs") or character == "\u2212"


def _folds(alphabet: str) -> dict[str, str]:
    """Return which character of the alphabet each other one is read as."""
    folds: dict[str, str] = {}
    for each in alphabet:
        for twin in (each.lower(), each.upper()):
            if twin not in alphabet and len(twin) == 1:
                folds[twin] = each
    for digit, letters in (("0", "oO"), ("1", "lLiI")):
        for letter in letters:
            if digit in alphabet and letter.lower() not in alphabet and letter.upper() not in alphabet:
                folds[letter] = digit
    return folds


@lru_cache(maxsize=16)
def _derive(secret_key: str | bytes) -> bytes:
    key = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return hmac.new(key, b"flask-chatbotkit-auth: code digests, version 1", hashlib.sha256).digest()
