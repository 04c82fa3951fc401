"""The local store: objects, manifests, and the small pointers that change."""
