"""A page behind Flask-Security, signed in to by a code in a mail (its unified sign-in)."""

from __future__ import annotations

import os

from flask import Flask
from flask_login import current_user
from flask_mail import Mail
from flask_security import Security, SQLAlchemyUserDatastore, auth_required
from flask_security.models import fsqla_v3 as models
from flask_sqlalchemy import SQLAlchemy

from .instruments import EMAIL, FOLDER, MAIL_PORT, count_sqlalchemy, instrumented

app = Flask(__name__)
app.config.update(
    SECRET_KEY="not a secret",
    SECURITY_PASSWORD_SALT="not a salt",
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{FOLDER}/users.db",
    MAIL_PORT=MAIL_PORT,
    MAIL_DEFAULT_SENDER="no-reply@example.com",
    SECURITY_UNIFIED_SIGNIN=True,
    SECURITY_US_ENABLED_METHODS=["email"],
    SECURITY_TOTP_SECRETS={"1": "A" * 43 + "="},
    SECURITY_TOTP_ISSUER="benchmarks",
    SECURITY_POST_LOGIN_VIEW="/page",
)
db = SQLAlchemy(app)
models.FsModels.set_db_info(db)


class Role(db.Model, models.FsRoleMixin):  # type: ignore[name-defined,misc]
    pass


class User(db.Model, models.FsUserMixin):  # type: ignore[name-defined,misc]
    pass


class WebAuthn(db.Model, models.FsWebAuthnMixin):  # type: ignore[name-defined,misc]  # its user has a relation to it
    pass


count_sqlalchemy()
Mail(app)
security = Security(app, SQLAlchemyUserDatastore(db, User, Role))

with app.app_context():
    db.create_all()
    if not security.datastore.find_user(email=EMAIL):
        user = security.datastore.create_user(email=EMAIL, password=os.urandom(8).hex())
        security.datastore.us_setup_email(user)
        db.session.commit()


@app.get("/page")
@auth_required("session")  # type: ignore[untyped-decorator]
def page() -> str:
    return f"Hello {current_user.email}"


application = instrumented(app)
