"""The customers' door. It has no tables; `access.py` is the one tenancy check."""
