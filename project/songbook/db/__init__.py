"""PostgreSQL: one engine, one pool, compiled statements."""
