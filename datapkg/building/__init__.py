"""How packages are made: build files, directories and values, through transforms, into objects and a manifest."""
