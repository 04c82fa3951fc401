"""The format of packages and of the HTTP API, as pure values: names, hashes, manifests and messages."""
