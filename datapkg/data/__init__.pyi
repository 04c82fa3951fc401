# What checkers make of users whose packages `datapkg stubs` did not write down: anything may be there.
from typing import Any

__all__: tuple[str, ...]

def __getattr__(name: str) -> Any: ...
def __dir__() -> list[str]: ...
