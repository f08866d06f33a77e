"""``StoreContract``: the test suite that every store must pass."""

from __future__ import annotations

from .challenges import Challenges
from .claims import Claims
from .races import Races
from .sessions import Sessions

__all__ = ["StoreContract"]


class StoreContract(Challenges, Claims, Sessions, Races):
    """The test suite that a store of your own must pass, races included.

    Subclass it in a test file as ``class TestMyStore(StoreContract)``, with a fixture ``store`` that returns an empty
    store. The races run a step of the store line by line, and let another caller act before each line. So a store fails
    whose ``complete`` makes two separate writes, and a store that writes without comparing.
    """
