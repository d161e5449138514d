"""The start page and the overview of an account, with its charts, alerts and live part."""
