"""Stages: commands and functions of a build file that make files, run again only where something changed."""
