"""What a package is: names, hashes, manifests and the words of the wire, as pure values."""
