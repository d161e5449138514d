"""Ways to send SQL: several statements in one round trip, and queries that are planned once per connection.

Knows no table. Everything above it may use it."""
