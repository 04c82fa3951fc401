"""The rules of a registry: what each actor may do, and its effects."""
