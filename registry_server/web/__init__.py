"""HTTP: requests in, replies out; every read and write passes a service."""
