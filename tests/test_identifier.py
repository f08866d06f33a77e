from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_chatbotkit_auth import InvalidEmail
from flask_chatbotkit_auth.identifier import (
    MAX_LENGTH,
    _normalize,
    has_special_domain,
    mask,
    normalize_identifier,
    same_identifier,
)
from tests.support.corpus import NOT_ONE_ADDRESS


@pytest.mark.parametrize(
    ("typed", "identifier"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada@EXAMPLE.com \n", "ada@example.com"),
        ("ａｄａ＠example.com", "ada@example.com"),
        ("ada@exämple.com", "ada@xn--exmple-cua.com"),
        ("ada@XN--EXMPLE-CUA.com", "ada@xn--exmple-cua.com"),
        ("a.d.a+shop@example.com", "a.d.a+shop@example.com"),
        ("o'neil@example.co.uk", "o'neil@example.co.uk"),
        ("\u200bada@example.com\ufeff", "ada@example.com"),
        ("\u202aada@example.com\u202c", "ada@example.com"),
        ("\u2068 ada@example.com\u200f \u2069", "ada@example.com"),
        ("ada@example.com\u00a0\u3000\u00ad", "ada@example.com"),
        ("\u2060ada@example.com\ufe0f\u3164", "ada@example.com"),
    ],
)
def test_one_person_is_one_identifier(typed: str, identifier: str) -> None:
    assert normalize_identifier(typed) == identifier


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada@localhost",
        "ada@[127.0.0.1]",
        "ada@example.com,eve@example.com",
        "ada@example.com;eve@example.com",
        "ada@example.com eve@example.com",
        "ada@example.com\neve@example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada\r\n@example.com",
        "ada@example.com\0",
        "a\0da@example.com",
        "Ada <ada@example.com>",
        "<ada@example.com>",
        '"ada eve"@example.com',
        "ada(comment)@example.com",
        "ada@example.com(comment)",
        "ada@@example.com",
        "ada@exam_ple.com",
        "ada..b@example.com",
        "ada@example..com",
        ".ada@example.com",
        "adä@example.com",
        "аda@example.com",  # a Cyrillic а
        "ada\u200b@example.com",
        "%0d%0abcc:eve@example.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "ada@" + ".".join(["a" * 60] * 5) + ".com",
        "a" * 65536 + "@example.com",
        "ﷺ" * 300,
        *(each for each in NOT_ONE_ADDRESS if isinstance(each, str)),
    ],
)
def test_what_is_not_one_address_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(InvalidEmail) as refused:
        normalize_identifier(typed)
    assert not typed.strip() or typed not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("typed", "identifier"),
    [
        ("Ada@Mail.Corp.Local", "ada@mail.corp.local"),
        ("ada@localhost", "ada@localhost"),
        ("ada@shop.test", "ada@shop.test"),
        ("ada@printer.home.arpa", "ada@printer.home.arpa"),
        ("ada@büro.local", "ada@xn--bro-hoa.local"),
        ("ada@example.com", "ada@example.com"),
    ],
)
def test_a_closed_network_may_use_its_special_domains(typed: str, identifier: str) -> None:
    import email_validator

    before = list(email_validator.SPECIAL_USE_DOMAIN_NAMES)
    assert normalize_identifier(typed, special_domains=True) == identifier
    assert has_special_domain(identifier) is not identifier.endswith("example.com")
    assert before == email_validator.SPECIAL_USE_DOMAIN_NAMES
    assert same_identifier(typed, identifier)
    if has_special_domain(identifier):
        with pytest.raises(InvalidEmail):
            normalize_identifier(typed)


@pytest.mark.parametrize(
    "typed", ["ada@exam_ple.local", "@local", "a b@x.local", "ada@.local", "ada@intranet", "ada@x.arpa"]
)
def test_under_a_special_domain_the_syntax_counts_all_the_same(typed: str) -> None:
    with pytest.raises(InvalidEmail):
        normalize_identifier(typed, special_domains=True)


def test_a_long_text_is_refused_before_any_work() -> None:
    before = _normalize.cache_info()
    with pytest.raises(InvalidEmail):
        normalize_identifier("a" * 60_000 + "@example.com")
    assert _normalize.cache_info() == before


@given(st.emails())
def test_normalising_twice_changes_nothing(address: str) -> None:
    try:
        identifier = normalize_identifier(address)
    except InvalidEmail:
        return
    assert normalize_identifier(identifier) == identifier
    assert identifier == identifier.lower()
    assert identifier.isascii()
    assert len(identifier) <= MAX_LENGTH
    assert same_identifier(address, identifier)


@given(st.text(max_size=400))
def test_any_text_is_an_identifier_or_refused(text: str) -> None:
    try:
        identifier = normalize_identifier(text)
    except InvalidEmail:
        return
    assert identifier.isascii()
    assert identifier.isprintable()
    assert identifier.count("@") == 1


@pytest.mark.parametrize("answer", [None, "", 5, ["ada@example.com"], {"a": 1}, "eve@example.com", "not an address"])
def test_an_answer_with_another_address_is_not_the_same(answer: object) -> None:
    assert not same_identifier(answer, "ada@example.com")


def test_an_answer_in_another_spelling_is_the_same() -> None:
    assert same_identifier(" ADA@Example.Com", "ada@example.com")


def test_mask_keeps_one_letter_and_the_domain() -> None:
    assert mask("ada@example.com") == "a•••@example.com"
