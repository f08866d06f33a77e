from __future__ import annotations

import hashlib
import hmac
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_chatbotkit_auth import ConfigurationError, EmailCodeProvider

DIGITS = "0123456789"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def test_default_codes_are_six_decimal_digits() -> None:
    provider = EmailCodeProvider()
    code = provider.generate()
    assert len(code) == 6
    assert set(code) <= set(DIGITS)
    assert provider.numeric
    assert 19.9 < provider.bits < 20
    assert provider.lifetime == timedelta(minutes=10)
    assert provider.attempts == 5


def test_codes_cannot_be_foretold() -> None:
    # From `random` the same state would bring the same codes again.
    provider = EmailCodeProvider()
    state = random.getstate()
    first = [provider.generate() for _ in range(5)]
    random.setstate(state)
    assert [provider.generate() for _ in range(5)] != first


def test_the_secret_key_itself_makes_no_digest() -> None:
    # It signs cookies, too: nothing that is made for one purpose may serve the other.
    message = "\0".join(("challenge", "ada@example.com", "3f9a2c")).encode()
    digest = EmailCodeProvider().digest("key", "challenge", "ada@example.com", "3f9a2c")
    assert digest != hmac.new(b"key", message, hashlib.sha256).hexdigest()


def test_of_a_long_text_no_more_is_read_than_a_code_can_need() -> None:
    assert len(EmailCodeProvider().normalize("x" * 60_000)) == 256


def test_codes_use_the_whole_alphabet() -> None:
    provider = EmailCodeProvider(alphabet=CROCKFORD, length=8)
    seen = Counter("".join(provider.generate() for _ in range(1000)))
    assert set(seen) == set(CROCKFORD)
    # 8000 draws of 32: an even source stays within 40 % of 250 a character, but for one run in 10^9.
    assert all(150 < count < 350 for count in seen.values())


@pytest.mark.parametrize(
    ("alphabet", "typed", "code"),
    [
        ("0123456789abcdef", "3F9A2C", "3f9a2c"),
        ("0123456789abcdef", " 3f9 a2c\n", "3f9a2c"),
        ("0123456789abcdef", "3f9-a2c", "3f9a2c"),
        ("0123456789abcdef", "3f9–a2c", "3f9a2c"),
        ("0123456789abcdef", "３ｆ９Ａ２ｃ", "3f9a2c"),
        ("0123456789abcdef", "3f9\u200ba2c\ufeff", "3f9a2c"),
        ("0123456789abcdef", "OolI3f", "00113f"),
        (DIGITS, "O12 345l", "0123451"),
        (CROCKFORD, "o1i-l2ab", "01112AB"),
        ("abcdefghijklmnopqrstuvwxyz", "OIL", "oil"),
        ("ABCabc0", "aBc", "aBc"),
        ("0123456789abcdef", "3f9\ud800a2c", "3f9a2c"),
        ("0123456789abcdef", "", ""),
        ("0123456789abcdef", " - ", ""),
    ],
)
def test_normalize_reads_what_was_meant(alphabet: str, typed: str, code: str) -> None:
    assert EmailCodeProvider(alphabet=alphabet, length=16).normalize(typed) == code


@pytest.mark.parametrize(
    "typed",
    [
        "123456",
        "123 456",
        "123\u202f456",
        "123-456",
        "123\u2013456.",
        "(123456)",
        "\u201e123456\u201c",
        "`123456`",
        "**123456**",
        "<123456>",
        "1.2.3.4.5.6",
        "\u0661\u0662\u0663\u0664\u0665\u0666",  # Arabic
        "\u06f1\u06f2\u06f3 \u06f4\u06f5\u06f6",  # Persian
        "\u0967\u0968\u0969\u096a\u096b\u096c",  # Devanagari
        "\uff11\uff12\uff13\uff14\uff15\uff16",  # full width
        "\U0001d7cf\U0001d7d0\U0001d7d1\U0001d7d2\U0001d7d3\U0001d7d4",  # mathematical bold
        "1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e36\ufe0f\u20e3",  # keycaps
        "\u200e123456\u200f",
        "Code: 123456",
        "code:123456",
        "Your sign-in code is 123 456.",
        "123456 is your code for Shop 24",
        "Shop: 123456",
        "\u30b3\u30fc\u30c9\uff1a123456",  # Japanese, "code:"
        "\u60a8\u7684\u9a8c\u8bc1\u7801\u662f123456\u3002",  # Chinese, "your code is 123456."
        "\u0631\u0645\u0632\u0643 \u0661\u0662\u0663\u0664\u0665\u0666",  # Arabic, "your code 123456"
    ],
)
def test_a_pasted_code_is_found(typed: str) -> None:
    assert EmailCodeProvider().normalize(typed) == "123456"


@pytest.mark.parametrize(
    "typed", ["123456 or 654321", "12345", "1234567", "order 1234567 of 2026", "x" * 80, "\U0001f642", ""]
)
def test_what_is_not_one_code_has_no_form(typed: str) -> None:
    provider = EmailCodeProvider()
    assert not provider.has_form(provider.normalize(typed))
    assert provider.normalize(provider.normalize(typed)) == provider.normalize(typed)


@given(st.text(st.characters(max_codepoint=127)))
def test_normalising_plain_text_twice_changes_nothing(typed: str) -> None:
    provider = EmailCodeProvider()
    code = provider.normalize(typed)
    assert provider.normalize(code[:200]) == code[:200]


@given(st.sampled_from(["0123456789abcdef", DIGITS, CROCKFORD]), st.data())
def test_a_code_typed_right_is_itself(alphabet: str, data: st.DataObject) -> None:
    provider = EmailCodeProvider(alphabet=alphabet, length=8)
    code = data.draw(st.text(alphabet=alphabet, min_size=8, max_size=8))
    assert provider.normalize(code) == code
    assert provider.normalize(f" {code[:4]}-{code[4:]} ".swapcase()) == code


def test_digest_depends_on_key_challenge_identifier_and_code() -> None:
    provider = EmailCodeProvider()
    base = ("key", "challenge", "ada@example.com", "3f9a2c")
    digests = {provider.digest(*base)}
    for position in range(4):
        changed = [*base]
        changed[position] += "x"
        digests.add(provider.digest(*changed))
    assert len(digests) == 5
    assert all(len(digest) == 64 for digest in digests)
    assert provider.digest(*base) == provider.digest(b"key", *base[1:])


def test_digest_keeps_its_parts_apart() -> None:
    provider = EmailCodeProvider()
    assert provider.digest("key", "a", "b", "cd") != provider.digest("key", "a", "bc", "d")


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"length": 5}, "CHATBOTKIT_AUTH_CODE_LENGTH to 6 or more"),
        ({"alphabet": "0123456789abcdef", "length": 4}, "CHATBOTKIT_AUTH_CODE_LENGTH to 5 or more"),
        ({"alphabet": "ab", "length": 0}, "CHATBOTKIT_AUTH_CODE_LENGTH to 20 or more"),
        ({"length": 65}, "CHATBOTKIT_AUTH_CODE_LENGTH"),
        ({"alphabet": "aab"}, "each of them once"),
        ({"alphabet": "a"}, "two or more"),
        ({"alphabet": "abc -"}, "leave out spaces, dashes"),
        ({"attempts": 0}, "CHATBOTKIT_AUTH_CODE_ATTEMPTS"),
        ({"lifetime": 0}, "CHATBOTKIT_AUTH_CODE_LIFETIME"),
    ],
)
def test_a_weak_or_untypable_code_is_refused_with_the_cure(settings: dict[str, Any], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        EmailCodeProvider(**settings)
