"""Convert the pipelines of other tools to build files: one module a format."""
