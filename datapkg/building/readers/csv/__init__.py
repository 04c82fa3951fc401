"""Delimited text as pandas reads it: by pyarrow where that is the same, by pandas in chunks, or by pandas whole."""
