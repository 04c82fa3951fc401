"""The database: the only package that contains SQL."""
