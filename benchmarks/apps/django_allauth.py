"""A page behind django-allauth, signed in to by a code in a mail."""

from __future__ import annotations

import os
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.apps.allauth_settings"

from django.contrib.auth.decorators import login_required
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from .instruments import COUNTING, EMAIL, count_statement, instrumented

_django = get_wsgi_application()  # before the paths, which lead to its models


@login_required  # type: ignore[untyped-decorator]  # Django has no type information
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"Hello {request.user.email}")


urlpatterns = [path("page", page), path("accounts/", include("allauth.account.urls"))]


def _count(execute: Any, sql: str, *arguments: Any) -> Any:
    count_statement(sql)
    return execute(sql, *arguments)


def _watch(connection: Any, **_: Any) -> None:
    connection.execute_wrappers.append(_count)


def _prepare() -> None:
    from allauth.account.models import EmailAddress
    from django.contrib.auth import get_user_model

    call_command("migrate", verbosity=0)
    user, created = get_user_model().objects.get_or_create(username="ada", email=EMAIL)
    if created:
        EmailAddress.objects.create(user=user, email=EMAIL, verified=True, primary=True)


if COUNTING:
    connection_created.connect(_watch)
_prepare()
application = instrumented(_django)
