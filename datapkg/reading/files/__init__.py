"""Show packages as files: fsspec, mounts and the open hook."""
