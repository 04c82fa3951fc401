"""Drafts: a package that is being changed, and how it is committed as a new state."""
