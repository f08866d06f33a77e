"""The same little application for an ASGI server."""

from __future__ import annotations

from asgiref.wsgi import WsgiToAsgi

from tests.support.gunicorn_app import create_app

app = WsgiToAsgi(create_app())
