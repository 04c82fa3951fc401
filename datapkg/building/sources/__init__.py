"""Sources of nodes: read each kind, and fetch what is not on this machine (URLs, archive members, repositories)."""
