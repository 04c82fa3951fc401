"""The grammar of build files: one module for each kind of source, all reading the same mapping of keywords."""
