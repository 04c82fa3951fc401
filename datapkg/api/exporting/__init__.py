"""The parts of `api/export`: file names of nodes, tables as text, and moving files into place."""
