"""How nodes look in a terminal and in a notebook; displaying never runs code of a package and never fails."""
