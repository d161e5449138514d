"""Stories at a browser. A package of its own, so that what their fixtures start ends when they are told."""
