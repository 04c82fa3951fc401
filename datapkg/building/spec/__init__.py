"""What the words of a build file's nodes mean: a file for each kind of source, read from the same mapping."""
