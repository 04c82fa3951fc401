"""The registry: where packages are published, over HTTP, on a database and a home of objects."""
