"""Views of the portal, one module per page. Each reads the clock, asks one room, and renders."""
