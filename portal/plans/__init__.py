"""Plans on offer, choosing and changing one, and how the own one stands: pages, forms and their reading."""
