"""Checks: what a build file demands of the values of its tables, read with it and tried on what was built."""
