"""What a request's instructions are spent on: the functions at which each cause begins.

A name that an application does not have is passed over, so that other applications and other releases can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SERVER = "gunicorn"
OTHER = "Flask and other"

WHOLE = ("mail", "API", "rate limits")
"""Causes whose inner ones are told as theirs: SQL for a rate limit is not the rest of SQL."""

CAUSES: Mapping[str, Sequence[str]] = {
    "mail": (
        "flask_chatbotkit_auth.mail.mailer:Mailer.send_code",
        "benchmarks.apps.smallest:send_code",
        "benchmarks.apps.smallest_tuned:send_code",
    ),
    "SMTP": (
        "smtplib:SMTP.__init__",
        "smtplib:SMTP.send",
        "smtplib:SMTP.getreply",
        "smtplib:SMTP.sendmail",
        "smtplib:SMTP.quit",
    ),
    "bytes": ("email.message:Message.as_bytes", "flask_mail:Message.as_bytes", "flask_mail:Message.as_string"),
    "API": (
        "flask_chatbotkit_auth.upstream.client:ChatBotKitClient.get",
        "benchmarks.apps.smallest:find_account",
        "benchmarks.apps.smallest_tuned:find_account",
    ),
    "rate limits": (
        "flask_chatbotkit_auth.ratelimit:RateLimiter.hit",
        "flask_chatbotkit_auth.ratelimit:RateLimiter.hit_client",
        "flask_chatbotkit_auth.ratelimit:RateLimiter.refund",
        "flask_chatbotkit_auth.ratelimit:RateLimiter.refund_all",
        "flask_chatbotkit_auth.ratelimit:RateLimiter.refund_client",
    ),
    "SQL": (
        "sqlalchemy.engine.base:Engine.connect",
        "sqlalchemy.engine.base:Connection.execute",
        "sqlalchemy.engine.base:Connection.close",
        "sqlalchemy.engine.base:Connection._begin_impl",
        "sqlalchemy.engine.base:Connection._commit_impl",
        "sqlalchemy.engine.base:Connection._rollback_impl",
        "sqlalchemy.orm.session:Session.execute",
        "sqlalchemy.orm.session:Session.scalar",
        "sqlalchemy.orm.session:Session.get",
        "sqlalchemy.orm.session:Session.flush",
        "sqlalchemy.orm.session:Session.commit",
        "sqlalchemy.orm.session:Session.close",
    ),
    "templates": ("jinja2.environment:Template.render",),
    "forms": (
        "wtforms.form:FormMeta.__call__",
        "flask_wtf.form:FlaskForm.validate_on_submit",
        "werkzeug.wrappers.request:Request._load_form_data",
    ),
    "CSRF": ("flask_wtf.csrf:generate_csrf", "flask_wtf.csrf:validate_csrf", "flask_wtf.csrf:CSRFProtect.protect"),
    "session cookie": (
        "flask.sessions:SecureCookieSessionInterface.open_session",
        "flask.sessions:SecureCookieSessionInterface.save_session",
    ),
    "Accept": ("werkzeug.http:parse_accept_header", "werkzeug.sansio.request:parse_accept_header"),
    "JSON": ("flask.json.provider:DefaultJSONProvider.dumps", "flask.json.provider:DefaultJSONProvider.loads"),
    "email address": ("email_validator:validate_email", "flask_chatbotkit_auth.identifier:_normalize"),
    "before the view": ("flask.app:Flask.preprocess_request",),
    "after the view": ("flask.app:Flask.process_response",),
    "view": ("flask.app:Flask.dispatch_request",),
    "URLs": ("werkzeug.routing.map:MapAdapter.match", "flask.app:Flask.url_for"),
}
