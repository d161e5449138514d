"""Staff pages of the ledger room: pools, grants, postings, and acts that correct them."""

from billing.admin.ledger import grants, pools, postings

__all__ = ["grants", "pools", "postings"]
