"""Who is in an account, its API keys, and its billing details: pages and forms."""
