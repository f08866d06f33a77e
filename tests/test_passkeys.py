"""What a browser's answer about a passkey proves, and everything about it that may be wrong."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.exceptions import InvalidPasskey, PasskeyExpired
from flask_chatbotkit_auth.passkeys import (
    CHALLENGE_LIFETIME,
    Challenge,
    Challenges,
    RelyingParty,
    check_user_handle,
    creation_options,
    from_base64url,
    named_challenge,
    named_credential,
    passkey_id,
    request_options,
    to_base64url,
    user_handle,
    verify_assertion,
    verify_creation,
)
from flask_chatbotkit_auth.stores.passkeys import Passkey
from flask_chatbotkit_auth.testing.authenticator import SoftwareAuthenticator

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ADA = User("usr_ada", "ada@example.com", name="Ada")
SHOP = RelyingParty("example.com", "Shop", ("https://shop.example.com",))

keys: list[str | bytes] = ["the key"]
challenges = Challenges(lambda: keys)


@pytest.fixture
def device() -> SoftwareAuthenticator:
    return SoftwareAuthenticator("https://shop.example.com")


def challenge(purpose: str = "get", user_id: str = "") -> Challenge:
    return challenges.new(purpose=purpose, browser="secret", now=NOW, user_id=user_id)


def made(device: SoftwareAuthenticator) -> Passkey:
    given = challenge("create", ADA.id)
    answer = device.create(creation_options(SHOP, ADA, given, ()))
    return verify_creation(SHOP, answer, given, user_id=ADA.id, name="Phone", now=NOW)


# Challenges


def test_a_challenge_is_recognised_in_its_browser_for_its_purpose() -> None:
    given = challenge()
    assert challenges.check(given.text, purpose="get", browser="secret", now=NOW) == given
    assert given.expires_at == NOW + CHALLENGE_LIFETIME
    assert len(from_base64url(given.text)) == 56
    assert challenge() != given


@pytest.mark.parametrize(
    "other",
    [
        {"purpose": "create"},
        {"browser": "another"},
        {"user_id": "usr_eve"},
        {"purpose": "ge", "browser": "tsecret"},
    ],
)
def test_a_challenge_is_good_for_nothing_else(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidPasskey):
        challenges.check(challenge().text, **{"purpose": "get", "browser": "secret", "now": NOW, **other})


def test_a_challenge_expires_at_its_time() -> None:
    given = challenge()
    just = given.expires_at - timedelta(milliseconds=1)
    assert challenges.check(given.text, purpose="get", browser="secret", now=just)
    with pytest.raises(PasskeyExpired):
        challenges.check(given.text, purpose="get", browser="secret", now=given.expires_at)


@pytest.mark.parametrize("text", ["////", "++++", "AA+A", "AAB", "A", "AA A", "é", "AA==A"])
def test_only_base64url_in_its_one_form_is_read(text: str) -> None:
    with pytest.raises(InvalidPasskey, match="base64url"):
        from_base64url(text)


def test_nobody_extends_a_challenge() -> None:
    value = bytearray(from_base64url(challenge().text))
    value[16:24] = (2**62).to_bytes(8, "big")
    with pytest.raises(InvalidPasskey):
        challenges.check(to_base64url(bytes(value)), purpose="get", browser="secret", now=NOW)


def test_a_challenge_outlives_a_rotation_of_the_key() -> None:
    given = challenge()
    rotated = Challenges(lambda: ["a new key", b"the key"])
    assert rotated.check(given.text, purpose="get", browser="secret", now=NOW) == given
    with pytest.raises(InvalidPasskey):
        Challenges(lambda: ["a new key"]).check(given.text, purpose="get", browser="secret", now=NOW)


@pytest.mark.parametrize("text", ["", "!", "AA", "Ünsinn", "A" * 75, "A" * 5000, "AA=A"])
def test_junk_is_no_challenge(text: str) -> None:
    with pytest.raises(InvalidPasskey):
        challenges.check(text, purpose="get", browser="secret", now=NOW)


# Options


def test_the_options_of_a_passkey_ask_for_what_a_sign_in_needs() -> None:
    given = challenge("create", ADA.id)
    options = creation_options(SHOP, ADA, given, ())
    assert options["rp"] == {"id": "example.com", "name": "Shop"}
    assert options["user"]["id"] == to_base64url(user_handle(ADA.id))
    assert [each["alg"] for each in options["pubKeyCredParams"]] == [-7, -257, -8]
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert (options["attestation"], options["timeout"]) == ("none", 600_000)
    offered = creation_options(SHOP, ADA, given, (), offer=True)
    assert offered["authenticatorSelection"]["authenticatorAttachment"] == "platform"


def test_the_options_of_a_sign_in_name_nobody() -> None:
    given = challenge()
    assert request_options(SHOP, given) == {
        "challenge": given.text,
        "rpId": "example.com",
        "timeout": 600_000,
        "userVerification": "required",
        "allowCredentials": [],
    }


def test_the_user_handle_is_the_same_for_ever_and_tells_no_id() -> None:
    assert user_handle("usr_ada") == user_handle("usr_ada") != user_handle("usr_eve")
    assert len(user_handle("usr_ada")) == 32
    assert b"usr_ada" not in user_handle("usr_ada")
    # Written down: a change would orphan every passkey.
    assert user_handle("usr_ada").hex().startswith("70ec38646220bbad")


# Making one


def test_a_passkey_that_was_made_is_kept_with_what_is_known_of_it(device: SoftwareAuthenticator) -> None:
    passkey = made(device)
    (id,) = device.credentials
    assert passkey.id == passkey_id(to_base64url(id))
    assert (passkey.credential_id, passkey.user_id, passkey.name) == (to_base64url(id), ADA.id, "Phone")
    assert (passkey.synced, passkey.backed_up, passkey.transports) == (True, True, ("hybrid", "internal"))
    assert (passkey.created_at, passkey.used_at, passkey.sign_count) == (NOW, None, 0)
    assert passkey.aaguid == "00000000-0000-0000-0000-000000000000"
    assert Passkey.from_json(passkey.to_json()) == passkey


def test_a_device_that_has_one_makes_no_second(device: SoftwareAuthenticator) -> None:
    passkey = made(device)
    with pytest.raises(ValueError, match="already"):
        device.create(creation_options(SHOP, ADA, challenge("create", ADA.id), [passkey]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "http://shop.example.com"},
        {"origin": "https://shop.example.com:8443"},
        {"verifies": False},
    ],
)
def test_a_passkey_from_elsewhere_or_from_nobody_is_refused(
    device: SoftwareAuthenticator, wrong: dict[str, Any]
) -> None:
    vars(device).update(wrong)
    with pytest.raises(InvalidPasskey):
        made(device)


def test_a_passkey_of_another_site_is_refused(device: SoftwareAuthenticator) -> None:
    given = challenge("create", ADA.id)
    options = creation_options(replace(SHOP, id="evil.com"), ADA, given, ())
    with pytest.raises(InvalidPasskey):
        verify_creation(SHOP, device.create(options), given, user_id=ADA.id, name="", now=NOW)


# Using one


def test_a_passkey_proves_its_owner(device: SoftwareAuthenticator) -> None:
    passkey, given = made(device), challenge()
    answer = device.get(request_options(SHOP, given))
    assert named_challenge(answer) == given.text
    assert named_credential(answer) == passkey.credential_id
    check_user_handle(answer, ADA.id)
    assertion = verify_assertion(SHOP, answer, given, passkey)
    assert (assertion.sign_count, assertion.backed_up) == (0, True)


def test_the_counter_of_a_bound_passkey_is_told_and_not_judged(device: SoftwareAuthenticator) -> None:
    device.synced = False
    passkey = made(device)
    assert (passkey.synced, passkey.transports) == (False, ("usb",))
    given = challenge()
    answer = device.get(request_options(SHOP, given))
    assert verify_assertion(SHOP, answer, given, replace(passkey, sign_count=7)).sign_count == 1


@pytest.mark.parametrize(
    "wrong",
    [{"origin": "https://evil.example.com"}, {"verifies": False}],
)
def test_an_answer_from_elsewhere_or_from_nobody_is_refused(
    device: SoftwareAuthenticator, wrong: dict[str, Any]
) -> None:
    passkey, given = made(device), challenge()
    vars(device).update(wrong)
    with pytest.raises(InvalidPasskey):
        verify_assertion(SHOP, device.get(request_options(SHOP, given)), given, passkey)


def test_an_answer_to_another_challenge_is_refused(device: SoftwareAuthenticator) -> None:
    passkey, given = made(device), challenge()
    answer = device.get(request_options(SHOP, given))
    with pytest.raises(InvalidPasskey):
        verify_assertion(SHOP, answer, challenge(), passkey)


def test_an_answer_signed_by_another_key_is_refused(device: SoftwareAuthenticator) -> None:
    passkey, other, given = made(device), made(device), challenge()
    answer = device.get(request_options(SHOP, given))
    assert verify_assertion(SHOP, answer, given, other)
    with pytest.raises(InvalidPasskey):
        verify_assertion(SHOP, answer, given, passkey)


def test_the_answer_to_making_one_signs_nobody_in(device: SoftwareAuthenticator) -> None:
    passkey, given = made(device), challenge()
    answer = device.create({**creation_options(SHOP, ADA, given, ()), "challenge": given.text})
    with pytest.raises(InvalidPasskey):
        verify_assertion(SHOP, answer, given, passkey)


def test_a_frame_of_another_site_is_refused(device: SoftwareAuthenticator) -> None:
    made(device)
    device.cross_origin = True
    with pytest.raises(InvalidPasskey, match="frame"):
        named_challenge(device.get(request_options(SHOP, challenge())))


def test_another_persons_handle_and_none_are_refused(device: SoftwareAuthenticator) -> None:
    made(device)
    answer = device.get(request_options(SHOP, challenge()))
    with pytest.raises(InvalidPasskey):
        check_user_handle(answer, "usr_eve")
    for handle in (None, "", 7, "!"):
        answer["response"]["userHandle"] = handle
        with pytest.raises(InvalidPasskey):
            check_user_handle(answer, ADA.id)


# Junk


def junk(answer: dict[str, Any]) -> list[object]:
    """Return the answer with each of its parts missing, of another type, cut, turned and enormous."""
    spoiled: list[object] = [None, [], "text", 7, {}, {"response": []}, {"response": {"clientDataJSON": "e30"}}]
    values: tuple[object, ...] = (None, 7, [], {}, "", "!", "AAAA", "A" * 100_000)
    for key in answer:
        for value in values:
            spoiled.append({**copy.deepcopy(answer), key: value})
    for key in answer["response"]:
        text = answer["response"][key]
        for value in (*values, text[: len(text) // 2] if isinstance(text, str) else None):
            other = copy.deepcopy(answer)
            other["response"][key] = value
            spoiled.append(other)
    for client_data in ("[" * 100_000, "null", "[]", '{"challenge": 7}', '{"challenge": "x", "crossOrigin": "yes"}'):
        other = copy.deepcopy(answer)
        other["response"]["clientDataJSON"] = to_base64url(client_data.encode())
        spoiled.append(other)
    return spoiled


def test_junk_is_refused_and_never_crashes(device: SoftwareAuthenticator) -> None:
    passkey, given = made(device), challenge()
    good = device.get(request_options(SHOP, given))
    untouched = {"authenticatorAttachment", "clientExtensionResults", "type", "rawId"}
    refused = 0
    for answer in junk(good):
        try:
            named_challenge(answer)
            named_credential(answer)
            check_user_handle(answer, ADA.id)
            verify_assertion(SHOP, answer, given, passkey)
        except InvalidPasskey:
            refused += 1
        else:
            assert isinstance(answer, dict)
            changed = {key for key in good if answer[key] != good[key]}
            assert changed <= untouched, json.dumps(answer)[:200]
    assert refused > 60


def test_junk_makes_no_passkey(device: SoftwareAuthenticator) -> None:
    given = challenge("create", ADA.id)
    good = device.create(creation_options(SHOP, ADA, given, ()))
    for answer in junk(good):
        try:
            passkey = verify_creation(SHOP, answer, given, user_id=ADA.id, name="", now=NOW)
        except InvalidPasskey:
            continue
        assert passkey.user_id == ADA.id
        assert passkey.credential_id == good["id"]
