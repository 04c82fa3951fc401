"""How packages are read: nodes, what they look like, what they turn into, and their import."""
