"""A folder for each family: what is measured is declared in `__init__.py`, prepared in `ours.py`
and `peer.py`, and compared in `check.py`."""
