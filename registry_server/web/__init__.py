"""HTTP: the JSON API and the pages; every read and write goes through a service."""
