"""The cases that every store meets, for anybody's store."""

from __future__ import annotations

from .challenges import Challenges
from .claims import Claims
from .races import Races
from .sessions import Sessions

__all__ = ["StoreContract"]


class StoreContract(Challenges, Claims, Sessions, Races):
    """The suite that a store of one's own must pass, races included.

    Subclass it in a test file as ``class TestMyStore(StoreContract)``, with a fixture ``store`` that returns an empty store.
    The races go through a step line by line, and let somebody else act before each of them: a store whose ``complete``
    makes two writes that can be seen one by one fails, and so does one that writes without comparing.
    """
