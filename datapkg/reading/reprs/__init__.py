"""How nodes look in a terminal and in a notebook; showing never runs anything of a package and never fails."""
