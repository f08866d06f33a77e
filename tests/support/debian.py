"""Debian's newest suite in a folder, for servers that the suite of this machine does not have."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(os.environ.get("TEST_DEBIAN_FOLDER", "/var/cache/chatbotkit-auth-debian"))
"""Where the suite is put the first time, about 800 MB."""

SUITE = "sid"

_PROGRAMS = {"mysql-server-core": "usr/sbin/mysqld", "valkey-server": "usr/bin/valkey-server"}

_NO_START = "#!/bin/sh\nexit 101\n"
"""What keeps packages from starting anything."""


class CannotBeMade(Exception):
    """The suite cannot be put into a folder here; the text says why."""


def newest(package: str) -> Path:
    """Return the folder of the suite, with a package installed. The first caller makes it, which takes minutes.

    :raises CannotBeMade: this machine, or its user, cannot.
    """
    if os.getuid() != 0:
        raise CannotBeMade("only root can put Debian's newest suite into a folder: run the tests as root")
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    # One process at a time, as with the workers of pytest-xdist.
    with open(f"{FOLDER}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not FOLDER.exists():
            _bootstrap()
        if not (FOLDER / _PROGRAMS[package]).exists():
            (FOLDER / "usr/sbin/policy-rc.d").write_text(_NO_START)
            (FOLDER / "usr/sbin/policy-rc.d").chmod(0o755)
            # A mirror may lag behind; debootstrap does not mind that either. Signatures are checked.
            apt = "apt-get -qq -o Acquire::Check-Valid-Until=false"
            install = f"{apt} update && {apt} install -y --no-install-recommends {package}"
            _run("sh", "-euc", f"mount -t proc proc {FOLDER}/proc; chroot {FOLDER} sh -c '{install}'")
    return FOLDER


def _bootstrap() -> None:
    program = shutil.which("debootstrap") or shutil.which("debootstrap", path="/usr/sbin")
    if program is None:
        raise CannotBeMade(f"debootstrap, which puts Debian's {SUITE} into {FOLDER}, is not installed")
    # Under another name until it is whole: what was interrupted begins again.
    half = Path(f"{FOLDER}.half")
    _run("rm", "-rf", "--one-file-system", str(half))
    _run(program, "--variant=minbase", SUITE, str(half))
    half.rename(FOLDER)


def _run(*command: str) -> None:
    # What is mounted for a command goes with it, also where it is killed.
    run = subprocess.run(
        ["unshare", "--mount", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )
    if run.returncode:
        last = run.stdout.strip().rpartition("\n")[2]
        raise CannotBeMade(f"{' '.join(command)} failed, of which the last line is: {last}")
