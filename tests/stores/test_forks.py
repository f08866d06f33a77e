"""Processes that are forked in C, where Python runs no hook: each opens its own connections."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from uuid import uuid4

import pytest

from tests.support.kinds import DATABASES, SHARED

PROGRAM = """
    import ctypes, os, sys
    from contextlib import nullcontext
    from datetime import datetime, timedelta, timezone
    from threading import Thread
    from flask_chatbotkit_auth import User
    from flask_chatbotkit_auth.stores import Challenge, SessionRecord, open_store

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    prefix = sys.argv[2]
    libc = ctypes.PyDLL(None)  # the lock of the interpreter is kept: the child goes on with it

    if sys.argv[1].startswith("engine+"):
        import sqlalchemy as sa
        from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
        store = SQLAlchemyStore(sa.create_engine(sys.argv[1].removeprefix("engine+"), pool_size=2))
    else:
        store = open_store(sys.argv[1])
    limits = store.limits_storage()
    store.ping()
    limits.incr(f"{prefix}warm", 60)
    # More than one connection has been in use.
    warm = [Thread(target=lambda: [store.get_challenge("x") for _ in range(20)]) for _ in range(4)]
    [each.start() for each in warm]
    [each.join() for each in warm]

    def use(name):
        for number in range(40):
            id = f"{prefix}{name}-{number}"
            store.add_challenge(Challenge(id, f"{name}@example.com", now, now + timedelta(minutes=10)), "right")
            assert store.get_challenge(id).id == id
            assert store.try_code(id, ["right"], now=now, max_attempts=5).outcome.value == "accepted"
            user = User(id=f"{prefix}{name}", email=f"{name}@example.com")
            end = now + timedelta(days=1)
            assert store.complete(id, SessionRecord(id, user, now, now, now, end, end), now=now)
            assert store.get_session(id, now=now).user.email == f"{name}@example.com"
            assert limits.incr(id, 60) == 1
            store.get_session(f"{prefix}unknown", now=now)

    def child(name):
        pid = libc.fork()
        if pid:
            return pid
        try:
            use(name)
            os._exit(0)
        except BaseException as error:
            print(name, repr(error), file=sys.stderr, flush=True)
            os._exit(1)

    with store.database.connected() if hasattr(store, "database") else nullcontext():
        store.get_challenge("x")  # this thread holds a connection while it forks
        children = [child(f"child{number}") for number in range(3)]
        use("parent")
    failed = [os.waitpid(pid, 0)[1] for pid in children]
    use("parent-again")
    store.close()
    sys.exit(any(failed))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
@pytest.mark.parametrize("store_url", SHARED, indirect=True, scope="module")
def test_a_process_that_is_forked_in_c_opens_its_own_connections(store_url: str) -> None:
    use_in_forked_processes(store_url)


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
@pytest.mark.parametrize("store_url", DATABASES, indirect=True, scope="module")
def test_so_does_one_with_the_applications_engine(store_url: str) -> None:
    use_in_forked_processes(f"engine+{store_url}")


def use_in_forked_processes(url: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM), url, f"fork-{uuid4().hex}-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
