"""The commands of a registry's operator."""
