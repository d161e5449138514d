"""Usage, the credit history and the price list: pages, filters and their reading."""
