"""Drafts: a package that is being changed, and how it becomes a new state."""
