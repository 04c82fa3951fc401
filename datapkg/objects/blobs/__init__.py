"""Bytes under keys, in a folder or a bucket: what the objects, and all else, of a registry without a server rest on."""
