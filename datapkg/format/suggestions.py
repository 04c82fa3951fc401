"""The word that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word nearest to a wrong one: of the same letters, the same beginning, or much alike; "" for none."""
    known = list(known)
    twisted = [each for each in known if sorted(each) == sorted(word)]
    begun = [
        each for each in known if min(len(each), len(word)) >= 3 and (word.startswith(each) or each.startswith(word))
    ]
    near = twisted or begun or difflib.get_close_matches(word, known, 1)
    return near[0] if near else ""
