"""The words of the catalogues: their plural forms, register, terms, marks and length."""

from __future__ import annotations

import re
from gettext import GNUTranslations
from io import BytesIO
from itertools import chain
from typing import Any

import pytest
from babel import Locale

from tests.support.catalogues import EVERY_LANGUAGE, LANGUAGES, PACKAGE, catalogue, compiled, forms

GLOSSARY = PACKAGE.parent.parent / "shared" / "GLOSSARY.md"

FORBIDDEN = {
    # Other than the masculine singular, to one person.
    "ar": r"أدخلي|أدخلوا|سج[ّ]?لي\b|سج[ّ]?لوا|أرسلي|أرسلوا|انتظري|انتظروا|تجاهلي|تجاهلوا|يمكنكم|حسابكم|بريدكم",
    "de": r"\b[Dd](?:u|ich|ir|ein|eine|einen|einem|einer|eines)\b|\b(?:[Gg]ib|[Ww]arte|Sende|[Tt]ippen)\b",
    "es": r"(?i)\b(?:usted|vos|su|sus|le|introduce|introduzca|ingresa|ingrese|escriba|espere|inténtelo|haga)\b",
    "fr": r"(?i)\b(?:tu|te|toi|ton|ta|tes|entrez|saisis|attends|réessaie|connecté\(e\)|(?<!e-)mail)\b",
    "it": r"\b(?:Lei|Suo|Sua|Suoi|Sue)\b|(?i:\b(?:inserisca|attenda|riprovi|digita|digiti|connesso|connessa|voi|vostro)\b)",
    "ja": r"請求|端末|あなた|サインイン|サインアウト|打ち込|ユーザー様|しろ。|せよ",
    "ko": r"하십시오|하시오|해라|당신|네 |사인인|[가-힣]해요[.?]",
    "nl": r"\b(?:[Uu]|[Uu]w|[Uu]zelf|jouw|[Tt]yp)\b",
    "pl": r"\b(?:Pan|Pani|Pana|Państwo|ty|twój|twoja|twoje|twojego|twoim|ci|ciebie)\b|\w[łl][ae]ś\b|(?i:\bwprowadź\b)",
    "pt": r"(?i)\b(?:tu|teu|tua|contigo|ficheiro|telemóvel|ecrã|palavra-passe|utilizador|registo|guardar|digite|entrada)\b"
    r"|(?i:iniciar sessão|terminar sessão)|(?<!Permanecer )conectad",
    "tr": r"(?i)\b(?:sen|seni|senin|sana|yazın|girebilirsin|hesabını|adresini|kodunu)\b|oturum aç",
    "zh": r"你|密码钥匙|帐户|账户|帐号|用户端|地址栏|登入|登出|注销",
}
"""What the register of a language does not say, and words of an older text that were taken for something else."""

NEAR = {
    "ar": r"هذا الجهاز",
    "de": r"(?i)\bdies\w* Gerät",
    "es": r"(?i)\beste dispositivo",
    "fr": r"(?i)\bcet appareil",
    "it": r"(?i)\bquesto dispositivo",
    "ja": r"このデバイス",
    "ko": r"이 기기",
    "nl": r"(?i)\bdit apparaat",
    "pl": r"(?i)\bt(?:o|ego|ym) urządzeni",
    "pt": r"(?i)\b(?:n|d)?este dispositivo",
    "tr": r"(?i)\bbu cihaz",
    "zh": r"此设备",
}
"""The device in a person's hands."""

MAIN = [
    "Send code",
    "Sign in",
    "Send a new code",
    "Try again",
    "Continue",
    "Create a passkey",
    "Delete my account",
    "Save",
]
OTHER = [
    "Sign out",
    "Sign out everywhere else",
    "Sign in with a passkey",
    "Use a different email",
    "Keep my account",
    "Stay signed in",
    "Not now",
    "Rename",
    "Forget this device",
    "Check your devices",
    "Check your passkeys",
    "Try that one",
    "Sign in again",
    "Back to sign-in",
    "Go to sign-in",
    "Back to your account",
]

LETTER = "\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff"  # kana and Han


def said(language: str) -> list[tuple[Any, str]]:
    """Return every form of every sentence with its English."""
    return [(each.id, form) for each in catalogue(language) if each.id for form in forms(each.string)]


def sentence(language: str, english: str) -> str:
    catalog = catalogue(language)
    message = catalog.get(english) or catalog.get(english, context="a device")
    assert message is not None, english
    return str(forms(message.string)[-1])


# Plural forms


@EVERY_LANGUAGE
def test_each_plural_category_is_one_form_of_the_catalogue(language: str) -> None:
    catalog = catalogue(language)
    rule = GNUTranslations(BytesIO(compiled(catalog))).plural  # type: ignore[attr-defined]
    found: dict[str, set[int]] = {}
    for number in (*range(1001), 1_000_000, 1_000_001, 2_000_000):
        found.setdefault(Locale.parse(language).plural_form(number), set()).add(rule(number))
    assert {category: len(indexes) for category, indexes in found.items()} == dict.fromkeys(found, 1)
    assert set(chain(*found.values())) == set(range(catalog.num_plurals))


def test_zero_and_one_are_singular_in_portuguese() -> None:
    rule = GNUTranslations(BytesIO(compiled(catalogue("pt")))).plural  # type: ignore[attr-defined]
    assert [rule(number) for number in range(4)] == [0, 0, 1, 1]


def test_arabic_has_its_two_last_forms_in_the_order_of_its_rule() -> None:
    message = catalogue("ar").get("We sent a %(num)s-digit code to %(email)s")
    assert message is not None
    one, two, few, other, many = forms(message.string)[1:]
    assert "رقم واحد" in one
    assert "رقمين" in two
    assert "أرقام" in few
    assert re.search(r"رقم\b", other)
    assert "رقمًا" in many


# Words


@EVERY_LANGUAGE
def test_another_device_is_not_called_this_device(language: str) -> None:
    assert re.search(NEAR[language], sentence(language, "This device"))
    for english in ("That device is signed out.", "You're no longer signed in on that device."):
        assert not re.search(NEAR[language], sentence(language, english)), english


@EVERY_LANGUAGE
def test_the_register_is_kept(language: str) -> None:
    assert [form for _, form in said(language) if re.search(FORBIDDEN[language], form)] == []


# A Korean particle follows a name and does not change it.
@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "ko"])
def test_the_name_of_the_site_is_not_inflected(language: str) -> None:
    assert [form for _, form in said(language) if re.search(r"%\(site(?:_name)?\)s[’'\w]", form)] == []
    if language == "pl":
        bare = [form for _, form in said("pl") if re.search(r"(?<!serwisu )(?<!serwisie )(?<!serwisem )%\(site", form)]
        assert bare == []


def glossary() -> dict[str, dict[str, str]]:
    """Return the table by its English, then by language, with our placeholders and plain marks."""
    if not GLOSSARY.is_file():
        pytest.skip(f"needs {GLOSSARY.name}, which is not part of the package")
    rows = [line.strip("|").split("|") for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert rows[0][1:] == LANGUAGES
    return {row[0]: dict(zip(LANGUAGES, row[1:], strict=True)) for row in rows[2:]}


def plain(text: str) -> str:
    return text.translate({0xA0: " ", 0x202F: " ", 0x2019: "'"})


TERMS = {
    "code": "Code",
    "email": "This email went to %(email)s.",
    "email address": "Email address",
    "account": "Account since %(date)s",
    "device": "This device",
    "passkey": "Create a passkey",
}
"""By a word of the glossary: a sentence that has it in every language as the glossary writes it."""


@EVERY_LANGUAGE
def test_the_terms_are_those_of_the_glossary(language: str) -> None:
    terms = glossary()
    for word, english in TERMS.items():
        assert plain(terms[word][language]).casefold() in plain(sentence(language, english)).casefold(), word


@EVERY_LANGUAGE
def test_the_sentences_are_those_of_the_glossary(language: str) -> None:
    catalog = catalogue(language)
    rule = GNUTranslations(BytesIO(compiled(catalog))).plural  # type: ignore[attr-defined]
    ours = {}
    for message in catalog:
        if message.id and not message.context:
            english, form = (
                forms(message.id)[-1],
                forms(message.string)[rule(6) if isinstance(message.id, tuple) else 0],
            )
            ours[filled(english)] = filled(form)
    found = []
    for english, translations in glossary().items():
        wanted = plain(translations[language])
        if english == "N tries left":
            english, wanted = "6 tries left", wanted.replace("N", "6")
        if english in ours and english not in TERMS:
            found.append(english)
            assert plain(ours[english]) == wanted
    assert len(found) == 25


def filled(text: str) -> str:
    """Return a sentence of ours as the glossary writes it: S the site, T the time; six is the number of everything."""
    for name, value in {"site": "S", "site_name": "S", "time": "T", "num": "6", "email": ""}.items():
        text = text.replace(f"%({name})s", value)
    return text.strip()


# Marks and length


@EVERY_LANGUAGE
def test_a_sentence_without_a_full_stop_has_none_in_any_language(language: str) -> None:
    assert [
        form
        for english, form in said(language)
        if forms(english)[0][-1] != "." and form[-1] in ".。" and "…" not in form
    ] == []


@EVERY_LANGUAGE
def test_marks_are_those_of_the_language(language: str) -> None:
    wrong = {
        "fr": r" [;?!:]|[^\u202f][;?!]|'|(?<!https)(?<!\u00a0):",
        "it": "'",
        "ja": rf"[{LETTER}][,.:?!]|[{LETTER}][A-Za-z]|[A-Za-z][{LETTER}]",
        "zh": rf"[{LETTER}][,.:?!]|[{LETTER}][A-Za-z0-9]|[A-Za-z0-9][{LETTER}]",
        "ar": r"[?,;]",
        "es": r"^[^¿]*\?|^[^¡]*!",
    }
    found = []
    for _, form in said(language):
        written = re.sub(r"%\((?:num|time|date|when)\)s", "6", form)
        written = re.sub(r"%\(\w+\)s", "Shop", written)
        if re.search(wrong.get(language, r"\s$"), written):
            found.append(form)
    assert found == []


@EVERY_LANGUAGE
def test_buttons_are_short(language: str) -> None:
    narrow = language in ("ja", "ko", "zh")
    terms = glossary() if GLOSSARY.is_file() else {}
    for english in chain(MAIN, OTHER):
        longest = (10 if narrow else 23) if english in MAIN else (15 if narrow else 30)
        form = sentence(language, english)
        assert len(form) <= max(longest, len(terms.get(english, {}).get(language, ""))), form
