"""Build packages: read build files, directories and values, transform them, and store the result as objects."""
