"""The commands ``flask chatbotkit-auth …``, for the people who run a site. ``--json`` makes them readable for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ..exceptions import ConfigurationError
from ..state import current_auth
from .administration import sessions, users
from .limits import codes, limits
from .repair import repair
from .terminal import (
    NotLoaded,
    counted,
    json_option,
    limit_type,
    load_app,
    plain,
    print_json,
    require_auth,
    with_app,
)


@click.group("chatbotkit-auth")
def cli() -> None:
    """Look after sign-in with ChatBotKit: its set-up, its users, its sessions."""


@cli.command()
@click.option("--mail", "with_mail", is_flag=True, help="Score our mail with SpamAssassin, where it is installed.")
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool, with_mail: bool) -> None:
    """Check what sign-in needs; exit 1 where something is broken."""
    from .doctor import Finding, examine
    from .doctor.mail import spam

    def findings() -> Iterator[Finding]:
        try:
            app = load_app(context)
        except ConfigurationError as error:
            yield Finding("configuration", "failure", str(error))
            return
        except NotLoaded as error:
            yield Finding("application", "failure", error.message)
            return
        with app.app_context():
            require_auth()
            yield from examine({"spam": spam} if with_mail else None)

    found = []
    for each in findings():
        found.append(each)
        if not as_json:
            click.echo(f"{each.state:<7}  {each.name:<13}  {plain(each.text)}")
    if as_json:
        print_json([vars(each) for each in found])
    if any(each.state == "failure" for each in found):
        context.exit(1)


@cli.command("init-db")
@with_app
def init_db() -> None:
    """Make the tables of the store where they are missing."""
    current_auth.store.setup()
    current_auth.store.ping()  # a store without tables has set up nothing
    click.echo("The store is ready.")


@cli.command()
@json_option
@with_app
def purge(as_json: bool) -> None:
    """Forget challenges, sessions and counts that ended an hour ago, old events, passkeys of accounts gone for a month."""
    batch = 1000

    def forgotten() -> Iterator[None]:
        while (some := current_auth.purge(limit=batch)) > 0:
            yield from [None] * some
            if some < batch:
                break
        if current_auth.config.passkeys:
            from ..flows import passkeys  # only where they are on

            yield from [None] * passkeys.purge()

    count = sum(1 for _each in counted(forgotten(), "forgotten"))
    print_json({"forgotten": count}) if as_json else click.echo(f"{count} forgotten.")


@cli.command("events")
@click.option("--user", metavar="ID", help="Only those of one account.")
@click.option("--email", help="Only those about one address.")
@click.option("--kind", help="Only those of one kind, such as sign_in.")
@click.option("--since", metavar="SPAN", help="Only those of the last 90m, 12h or 7d, or since a date.")
@click.option("--limit", type=limit_type, default=100, show_default=True, help="At most so many, the newest.")
@click.option("--follow", is_flag=True, help="Go on printing new ones until Ctrl-C; with --json one a line.")
@json_option
@with_app
def show_events(**options: Any) -> None:
    """Show what has happened: sign-ins, refusals, changes."""
    from .events import show  # only for this command

    show(**options)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8180, show_default=True, help="0 takes any free one.")
@click.option("--secret", default="sk-sandbox", show_default=True, help="The API secret that it takes.")
def sandbox(port: int, secret: str) -> None:
    """Serve a stand-in of the ChatBotKit API, in memory, until Ctrl-C. Needs no application."""
    from ..testing import Sandbox

    stand_in = Sandbox(secret, port=port)
    try:
        stand_in.start()
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"Port {port} cannot be used ({reason}). Name another with --port.") from None
    with_settings = f"export CHATBOTKIT_API_SECRET={secret}\nexport CHATBOTKIT_API_URL={stand_in.url}"
    click.echo(f"{with_settings}\n# The stand-in serves until Ctrl-C; what it holds is gone then.")
    try:
        stand_in.wait()
    finally:
        stand_in.stop()


cli.add_command(repair)
cli.add_command(users)
cli.add_command(sessions)
cli.add_command(limits)
cli.add_command(codes)
