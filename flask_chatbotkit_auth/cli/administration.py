"""The commands ``users`` and ``sessions``, for administrators.

The switches (auto create, update and delete) restrict only what happens at sign-in and on the pages. These commands ignore
them.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import click

from ..device import device_name
from ..exceptions import EmailTaken
from ..identifier import normalize_identifier
from ..profile import profile_problem
from ..state import current_auth
from ..user import User
from .terminal import count_of, counted, json_option, limit_type, plain, print_json, print_table, with_app


@click.group()
def users() -> None:
    """See and manage users, whatever the switches say."""


@users.command("list")
@click.option("--limit", type=limit_type, help="At most so many, the newest first.")
@json_option
@with_app
def list_users(limit: int | None, as_json: bool) -> None:
    """List every user."""
    found = list(counted(islice(current_auth.adapter.list(), limit), "users"))
    if as_json:
        print_json([user.to_json() for user in found])
    else:
        print_table(
            [{"id": user.id, "e-mail": user.email, "name": user.name, "since": _day(user)} for user in found],
            "There are no users yet.",
        )


@users.command("show")
@click.argument("user", metavar="ID-OR-EMAIL")
@json_option
@with_app
def show_user(user: str, as_json: bool) -> None:
    """Show one user."""
    _show(_find(user), as_json)


@users.command("create")
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option("--image", default="", help="The https address of a picture.")
@json_option
@with_app
def create_user(email: str, name: str, image: str, as_json: bool) -> None:
    """Make an account, so that its owner can sign in."""
    identifier = normalize_identifier(email, special_domains=True)
    _check(name=name, image=image)
    try:
        user = current_auth.admin.create(identifier, name=name.strip() or None, image=image.strip() or None)
    except EmailTaken:
        raise click.ClickException(f"{identifier} has an account already.") from None
    _show(user, as_json)


@users.command("update")
@click.argument("user", metavar="ID-OR-EMAIL")
@click.option("--name", help='The person\'s name; "" takes it away.')
@click.option("--image", help='The https address of a picture; "" takes it away.')
@click.option("--email", help="The address that the person signs in with from now on; sessions of the old one end.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="A key of meta; the value is JSON, or else text.")
@json_option
@with_app
def update_user(user: str, as_json: bool, meta: tuple[str, ...], **options: str | None) -> None:
    """Change an account; what is not given stays as it is."""
    fields: dict[str, Any] = {key: value.strip() for key, value in options.items() if value is not None}
    _check(**{key: value for key, value in fields.items() if key != "email"})
    if meta:
        fields["meta"] = dict(map(_meta, meta))
    if not fields:
        raise click.ClickException("Say what to change: --name, --image, --email or --meta.")
    found = _find(user)
    try:
        updated = current_auth.admin.update(found.id, **fields)
    except EmailTaken:
        raise click.ClickException(f"{normalize_identifier(fields['email'])} has an account of its own.") from None
    _show(updated, as_json)


@users.command("delete")
@click.argument("user", metavar="ID-OR-EMAIL")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_app
def delete_user(user: str, yes: bool, as_json: bool) -> None:
    """Delete an account with all that is in it, for good, and end its sessions."""
    found = _find(user)
    if not yes:
        question = f"Delete {plain(found.email)} ({plain(found.id)}) with all that is in the account, for good?"
        click.confirm(question, abort=True, err=True)
    ended = current_auth.admin.delete(found)
    if as_json:
        print_json({"deleted": found.id, "sessions_ended": ended})
    else:
        click.echo(f"{plain(found.email)} is deleted, and {count_of(ended, 'session')} ended.")


@click.group()
def sessions() -> None:
    """See and end sessions."""


@sessions.command("list")
@click.argument("user", metavar="ID-OR-EMAIL")
@json_option
@with_app
def list_sessions(user: str, as_json: bool) -> None:
    """List where a user is signed in."""
    rows: list[dict[str, Any]] = [
        {
            "id": each.id,
            "device": each.name or device_name(each.user_agent),
            "ip": each.ip,
            "created_at": each.created_at.isoformat(timespec="seconds"),
            "last_seen_at": each.seen_at.isoformat(timespec="seconds"),
        }
        for each in current_auth.sessions(_id(user))
    ]
    print_json(rows) if as_json else print_table(rows, "This user is signed in nowhere.")


@sessions.command("end")
@click.argument("user", metavar="ID-OR-EMAIL", required=False)
@click.option("--session", "session_id", help="Only this one; by default all of the user's.")
@click.option("--all", "everybody", is_flag=True, help="Those of every user, in every application of this store.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_app
def end_sessions(user: str | None, session_id: str | None, everybody: bool, yes: bool, as_json: bool) -> None:
    """Sign a user out, everywhere or on one device, or everybody with --all."""
    if everybody == (user is not None):
        raise click.ClickException("Name a user, or say --all.")
    if everybody and session_id is not None:
        raise click.ClickException("--all ends every session. To end only this one, name its user in place of --all.")
    if user is None:
        if not yes:
            click.confirm("Sign everybody out, in every application that uses this store?", abort=True, err=True)
        ended = current_auth.registry.end_everybody()
        if ended and current_auth.trail is not None:
            # One event of nobody: `session_ended` is about a user, and there may be a million of them.
            current_auth.trail.add("sessions_ended", detail={"reason": "ended", "sessions": ended})
    elif session_id is None:
        ended = current_auth.end_sessions(_id(user))
    elif current_auth.end_session(_id(user), session_id):
        ended = 1
    else:
        raise click.ClickException("This user has no such session (any more).")
    if as_json:
        print_json({"ended": ended})
        return
    seconds = current_auth.config.session_check.total_seconds()
    click.echo(f"{count_of(ended, 'session')} ended. Every worker knows within {seconds:g} seconds.")


def _find(user: str) -> User:
    adapter = current_auth.adapter
    found = adapter.get_by_email(normalize_identifier(user, special_domains=True)) if "@" in user else adapter.get(user)
    if found is None:
        raise click.ClickException(f"There is no user {plain(user)}.")
    return found


def _id(user: str) -> str:
    # An id needs no look-up, so this also works for a deleted user, and while the API is down.
    return _find(user).id if "@" in user else user


def _meta(option: str) -> tuple[str, Any]:
    key, equals, value = option.partition("=")
    if not key or not equals:
        raise click.ClickException(f"--meta {plain(option)}: give KEY=VALUE.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _check(**fields: str) -> None:
    for field, value in fields.items():
        if problem := profile_problem(field, value.strip(), current_auth.kind):
            raise click.ClickException(f"--{field}: {problem}")


def _show(user: User, as_json: bool) -> None:
    if as_json:
        print_json(user.to_json())
        return
    for name, value in {**user.public(), **{f"meta.{key}": value for key, value in user.meta.items()}}.items():
        click.echo(f"{plain(name) + ':':<16}{plain(value)}")


def _day(user: User) -> str | None:
    return user.created_at.date().isoformat() if user.created_at else None
