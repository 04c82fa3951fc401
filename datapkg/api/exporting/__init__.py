"""The parts of `api/export`: where each node goes, how tables become text, and how files are put in place."""
