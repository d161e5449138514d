"""PostgreSQL as Florin uses it: the one place where every process, command and thread opens its connections."""
