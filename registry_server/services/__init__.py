"""The rules: what may be done, by whom, and what then holds."""
