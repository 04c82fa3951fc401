"""Bringing sources to this machine: addresses, members of archives, repositories."""
