"""The score of our mail in SpamAssassin, if it is installed. It needs no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import NamedTuple

from ..exceptions import MailError
from .message import Mail

PROGRAM = "spamassassin"

TIMEOUT = 60
"""The time limit in seconds. SpamAssassin reads thousands of rules at each start."""


class Score(NamedTuple):
    """The result of SpamAssassin for a mail.

    :param points: the score; higher is worse.
    :param required: the score from which a mail counts as spam.
    :param rules: the rules that matched, such as ``"MIME_HTML_ONLY"``.
    """

    points: float
    required: float
    rules: list[str]


def spam_score(mail: Mail) -> Score | None:
    """Return the score of ``mail`` by the rules that need no network, or ``None`` if SpamAssassin is not installed.

    :raises MailError: SpamAssassin gave no score, or not within :data:`TIMEOUT`.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    command = [program, "--local", "--nocreate-prefs", "--prefs-file=/dev/null"]
    try:
        run = subprocess.run(command, input=mail.as_bytes(), capture_output=True, timeout=TIMEOUT, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise MailError(f"{PROGRAM} gave no score ({type(error).__name__})") from None
    # The header can be folded anywhere.
    headers = re.sub(rb"\r?\n[ \t]+", b" ", run.stdout.partition(b"\n\n")[0]).decode("ascii", "replace")
    found = re.search(
        r"^X-Spam-Status: .*?score=(-?[\d.]+) required=([\d.]+) tests=(.*?) autolearn=", headers, re.MULTILINE
    )
    if found is None:
        raise MailError(f"{PROGRAM} gave no score")
    rules = [rule for rule in re.split(r"[\s,]+", found[3]) if rule and rule != "none"]
    return Score(float(found[1]), float(found[2]), rules)
