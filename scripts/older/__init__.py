"""What the older application kept in SQLite, carried over: read into a portable backup, loaded into PostgreSQL, compared."""
