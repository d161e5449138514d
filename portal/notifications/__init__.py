"""The inbox and what a member wants to be told: pages and forms."""
