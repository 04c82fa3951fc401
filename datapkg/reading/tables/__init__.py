"""Read stored tables: block selection, lazy ranges, caches, and conversion to pandas and text."""
