"""Checks: run the rules that a build file defines for the values of its tables on what was built."""
