"""How an application tests its sign-in: read ``conftest.py``, then ``test_parley.py``."""
