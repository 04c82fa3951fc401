"""A registry without a server: the files of one, in a folder, a bucket or behind a web server."""
