"""What a package is made of, as objects of Python: one class a kind."""
