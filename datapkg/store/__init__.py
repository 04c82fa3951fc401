"""What this machine keeps: objects, manifests, and the small pointers that change."""
