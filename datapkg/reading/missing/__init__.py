"""Errors for nodes that a state does not have, with close names, code to type, and the states that have the node."""
