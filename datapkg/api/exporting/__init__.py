"""What `api/export` is made of: where each node goes, how tables become text, and how files get their places."""
