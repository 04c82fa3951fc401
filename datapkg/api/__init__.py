"""What you can say: one verb a file, each a story told with the rooms below."""
