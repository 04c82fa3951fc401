"""Talking to a registry over HTTP."""
