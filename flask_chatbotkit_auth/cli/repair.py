"""The command ``repair``: finds accounts that sign-in cannot find, or finds twice, and corrects their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from ..exceptions import APIError, InvalidEmail
from ..identifier import normalize_identifier
from ..state import current_auth
from ..upstream.records import Records
from ..user import Kind
from .terminal import count_of, counted, json_option, plain, print_json, print_table, with_app

Outcome = Literal["heal", "leave", "unverified"]


@dataclass(frozen=True)
class Account:
    """The fields of a contact or a sub-account that decide whether sign-in finds it."""

    id: str
    identifier: str
    """The address of its owner, normalised."""
    found_by: str | None
    """The field that sign-in searches: a contact's ``meta.email``, or a sub-account's ``email``."""
    verified: bool = True
    """Whether somebody has proved the address. Always true for a sub-account, which does not record it."""

    @property
    def sound(self) -> bool:
        """Whether sign-in finds it on every deployment. Filters compare exactly."""
        return self.found_by == self.identifier


@dataclass(frozen=True)
class Report:
    """The problems that were found."""

    count: int
    """The number of accounts that were examined."""

    repairs: list[tuple[Account, Outcome]] = field(default_factory=list)
    """The accounts that sign-in does not find, and what to do with each. An account is left alone if its owner already signs
    in to a newer one, since sign-in takes the oldest, or if nobody has verified it."""

    duplicates: dict[str, list[Account]] = field(default_factory=dict)
    """The accounts of each address that has several, the oldest first."""


def examine(records: Iterable[Mapping[str, Any]], kind: Kind, *, include_unverified: bool = False) -> Report:
    """Return what is wrong with accounts.

    :param records: the accounts as the API lists them, the oldest first. Those without an address are left out.
    :param include_unverified: also repair contacts that nobody has verified.
    """
    people: dict[str, list[Account]] = {}
    count = 0
    for count, record in enumerate(records, 1):  # noqa: B007  # counted for the report
        account = _contact(record) if kind == "contact" else _sub_account(record)
        if account is not None:
            people.setdefault(account.identifier, []).append(account)
    report = Report(count)
    for identifier, accounts in people.items():
        if len(accounts) > 1:
            report.duplicates[identifier] = accounts
        in_use = next((place for place, account in enumerate(accounts) if account.sound), None)
        for place, account in enumerate(accounts):
            if account.sound:
                continue
            outcome: Outcome = "heal"
            if not account.verified and not include_unverified:
                outcome = "unverified"
            elif in_use is not None and (place < in_use or kind == "partner"):
                outcome = "leave"  # only one sub-account can have the address in normal form
            elif kind == "partner" and any(done == "heal" and each in accounts for each, done in report.repairs):
                outcome = "leave"
            report.repairs.append((account, outcome))
    return report


def heal(account: Account, kind: Kind) -> None:
    """Write the account's address, in normal form, to the field that sign-in searches. Change nothing else.

    :raises APIError: the API could not be reached or refused.
    """
    records = Records(current_auth.client, _path(kind))
    if kind == "contact":
        records.change(account.id, {}, {"email": account.identifier})
    else:
        records.change(account.id, {"email": account.identifier})


@click.command()
@click.option("--apply", "apply_it", is_flag=True, help="Write. Without it nothing is changed.")
@click.option("--include-unverified", is_flag=True, help="Heal contacts that nobody has verified, too.")
@json_option
@with_app
def repair(apply_it: bool, include_unverified: bool, as_json: bool) -> None:
    """Find accounts that sign-in cannot find, and people who have several. Heals addresses, merges nothing.

    Contacts: meta.email is blank or wrong. Sub-accounts: the address is not in normal form, such as Ada@Example.com;
    setting it right takes the account's alias away, which the API does at any update.
    """
    kind = current_auth.kind
    thing = "contact" if kind == "contact" else "sub-account"
    listed = Records(current_auth.client, _path(kind)).all({"order": "asc"})
    report = examine(counted(listed, f"{thing}s"), kind, include_unverified=include_unverified)
    rows, failed = [], 0
    for account, judged in counted(report.repairs, "repaired") if apply_it else report.repairs:
        outcome: str = judged
        if apply_it and judged == "heal":
            try:
                heal(account, kind)
                outcome = "healed"
            except APIError as error:
                outcome, failed = f"failed: {error}", failed + 1
        column = "meta.email" if kind == "contact" else "stored as"
        rows.append({"id": account.id, "e-mail": account.identifier, column: account.found_by, "outcome": outcome})
    duplicates = {email: [each.id for each in accounts] for email, accounts in report.duplicates.items()}
    if as_json:
        print_json({f"{thing}s": report.count, "applied": apply_it, "repairs": rows, "duplicates": duplicates})
    else:
        click.echo(f"{count_of(report.count, thing)} looked at.")
        print_table(rows, "Sign-in finds every one of them.")
        for email, ids in duplicates.items():
            click.echo(f"{plain(email)} has several, the oldest first: {', '.join(map(plain, ids))}")
        if any(outcome == "unverified" for _account, outcome in report.repairs):
            click.echo("Nobody has verified some of them. Run this with --include-unverified to heal those, too.")
        if any(outcome == "heal" for _account, outcome in report.repairs) and not apply_it:
            click.echo("Nothing was changed. Run this again with --apply to heal.")
    if failed:
        raise click.ClickException(f"{count_of(failed, thing)} could not be healed. Run this again.")


def _path(kind: Kind) -> str:
    return "/contact" if kind == "contact" else "/user"


def _contact(record: Mapping[str, Any]) -> Account | None:
    meta = record.get("meta")
    found_by = _text(meta.get("email")) if isinstance(meta, Mapping) else None
    # As in the adapter: meta.email decides only if the contact has no email of its own.
    return _account(record, _text(record.get("email")) or found_by, found_by, bool(record.get("verifiedAt")))


def _sub_account(record: Mapping[str, Any]) -> Account | None:
    email = _text(record.get("email"))
    return _account(record, email, email, True)


def _account(record: Mapping[str, Any], address: str | None, found_by: str | None, verified: bool) -> Account | None:
    id = record.get("id")
    if address is None or not isinstance(id, str):
        return None
    try:
        return Account(id, normalize_identifier(address, special_domains=True), found_by, verified)
    except InvalidEmail:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
