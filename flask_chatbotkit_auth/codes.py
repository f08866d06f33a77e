"""Codes: how they are generated, which texts count as the same code, and what is stored of them."""

from __future__ import annotations

import math
import secrets
import unicodedata
from datetime import timedelta
from itertools import pairwise

from .exceptions import ConfigurationError
from .keys import keyed_digest

MINIMUM_CODES = 10**6
"""The fewest different codes that are accepted: as many as six random digits give (OWASP ASVS 5.0, 6.5.4)."""


class EmailCodeProvider:
    """Generates codes, and reads what people type.

    :param alphabet: the characters of a code. Case is ignored in what people type unless the alphabet has both cases.
    :param length: the number of characters in a code.
    :param lifetime: how long a code can be used, in seconds or as a ``timedelta``; 10 minutes at most (ASVS 5.0, 6.5.5).
    :param attempts: how many wrong codes end a challenge (ASVS 5.0, 6.6.3).
    :raises ConfigurationError: a code would be too easy to guess, or people could not type it.
    """

    def __init__(
        self,
        *,
        alphabet: str = "0123456789",
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
        self._characters = frozenset(alphabet)

    @property
    def bits(self) -> float:
        """The entropy of a code in bits."""
        return self.length * math.log2(len(self.alphabet))

    @property
    def numeric(self) -> bool:
        """Whether codes consist of digits only, so that a phone can show its number pad."""
        return self.alphabet.isdecimal()

    def generate(self) -> str:
        """Return a new code from the operating system's random source (ASVS 5.0, 6.5.3)."""
        return "".join(secrets.choice(self.alphabet) for _ in range(self.length))

    def normalize(self, typed: str) -> str:
        """Return the code that a person meant by ``typed``.

        Spaces, dashes, punctuation and invisible characters are removed. Full-width characters become plain ones, and the
        digits of every script become ASCII digits. Case is ignored. ``O`` is read as ``0``, and ``l`` and ``I`` as ``1``,
        if the alphabet has the digit and not the letter. In a longer text, such as ``Code: 123456`` or the subject of the
        mail, the one word with the form of a code is taken. Check the result with :meth:`has_form`.
        """
        if self.has_form(typed):
            return typed
        text = unicodedata.normalize("NFKC", typed[:256])
        whole = self._fold(text)
        if self.has_form(whole):
            return whole
        words = self._words(text)
        # A mail shows its code in two halves, so two words can be one code.
        for candidates in (words, ["".join(pair) for pair in pairwise(words)]):
            found = {each for each in candidates if self.has_form(each)}
            if len(found) == 1:
                return found.pop()
        return whole

    def has_form(self, code: str) -> bool:
        """Return whether a normalised ``code`` has the right length, and only characters of the alphabet."""
        return self.has_length(code) and self._characters.issuperset(code)

    def has_length(self, code: str) -> bool:
        """Return whether a normalised ``code`` has the right length. A text with another length does not count as a try."""
        return len(code) == self.length

    def digest(self, secret_key: str | bytes, challenge_id: str, identifier: str, code: str) -> str:
        """Return the digest of ``code``, which is stored: HMAC-SHA256 in hexadecimal, with a key derived from ``secret_key``.

        It covers the challenge and the identifier, so that a code works only for the address and the browser that it was made
        for. Without the key, somebody who reads the store cannot try codes (ASVS 5.0, 6.5.2 and 6.6.2).
        """
        return keyed_digest(secret_key, "code digests", challenge_id, identifier, code)

    def _fold(self, text: str) -> str:
        return "".join(self._folds.get(each, each) for each in map(_plain_digit, text) if not self._is_dropped(each))

    def _words(self, text: str) -> list[str]:
        # In Chinese and Japanese there is no space before a code, so letters of other scripts also end a word.
        folded = (self._folds.get(each, each) for each in map(_plain_digit, text))
        kept = (each if each in self.alphabet or (each.isascii() and each.isalnum()) else " " for each in folded)
        return "".join(kept).split()

    def _is_dropped(self, character: str) -> bool:
        # Separators, punctuation, symbols, combining marks, control and format characters (zero-width space and the like),
        # and halves of characters, which JSON can name and nothing can encode.
        return character not in self.alphabet and unicodedata.category(character)[0] in "ZPSMC"

    def _check(self) -> None:
        if len(self.alphabet) < 2 or len(set(self.alphabet)) != len(self.alphabet):
            raise ConfigurationError("CHATBOTKIT_AUTH_CODE_ALPHABET: give two or more characters, each of them once.")
        if any(_is_filler(each) or unicodedata.normalize("NFKC", each) != each for each in self.alphabet):
            raise ConfigurationError(
                "CHATBOTKIT_AUTH_CODE_ALPHABET: leave out spaces, dashes and invisible or compatibility characters; they "
                "are dropped from what people type."
            )
        if self.length < 1 or len(self.alphabet) ** min(self.length, 64) < MINIMUM_CODES:
            enough = next(length for length in range(1, 64) if len(self.alphabet) ** length >= MINIMUM_CODES)
            raise ConfigurationError(
                f"A code of {self.length} out of {len(self.alphabet)} characters is one of fewer than {MINIMUM_CODES:,}, and "
                f"too easy to guess. Set CHATBOTKIT_AUTH_CODE_LENGTH to {enough} or more, or name more characters in "
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


def _plain_digit(character: str) -> str:
    """Return the ASCII digit for a decimal digit of any script. Return any other character unchanged."""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _folds(alphabet: str) -> dict[str, str]:
    """Return a mapping from characters outside the alphabet to those that they are read as."""
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
