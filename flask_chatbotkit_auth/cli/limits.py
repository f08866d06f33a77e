"""The commands ``limits`` and ``codes``: clear the limits of an address, and end the codes that were sent to it."""

from __future__ import annotations

import click

from ..identifier import normalize_identifier
from ..state import current_auth
from .terminal import count_of, json_option, print_json, with_app

_OF_AN_ADDRESS = ("request:email", "verify:email")


@click.group()
def limits() -> None:
    """Look after rate limits."""


@limits.command("clear")
@click.argument("email")
@json_option
@with_app
def clear_limits(email: str, as_json: bool) -> None:
    """Forget what was counted for an address, so that its owner can ask for a code and type one.

    What was counted for a client's network address stays, and so does what each known device has used up.
    """
    identifier = normalize_identifier(email, special_domains=True)
    if not current_auth.limiter.shared:
        raise click.ClickException(
            "Each worker counts in its own memory, where no command reaches it. Restart the workers, or set "
            "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI."
        )
    for name in _OF_AN_ADDRESS:
        current_auth.limiter.clear(name, identifier)
    if as_json:
        print_json({"cleared": list(_OF_AN_ADDRESS)})
    else:
        click.echo(f"The limits of {identifier} are cleared.")


@click.group()
def codes() -> None:
    """Look after codes that were sent."""


@codes.command("end")
@click.argument("email")
@json_option
@with_app
def end_codes(email: str, as_json: bool) -> None:
    """End every code that was sent to an address: none of them opens anything any more. Sessions go on."""
    identifier = normalize_identifier(email, special_domains=True)
    ended = current_auth.store.end_challenges(identifier, now=current_auth.clock())
    if as_json:
        print_json({"ended": ended})
    else:
        click.echo(f"{count_of(ended, 'sign-in')} under way ended. Sessions go on; `sessions end` ends those.")
