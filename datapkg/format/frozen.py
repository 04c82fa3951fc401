"""Frozen dataclasses for modules on the import path of packages.

The standard library's `dataclasses` loads `inspect`, which takes as long as the whole rest of an import of data.
Classes made here are equivalent: made from annotations and defaults, compared by their fields, hashable, immutable, and
supported by `dataclasses.replace`, `asdict` and `fields`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen):
        """Replace `dataclasses.dataclass(frozen=True)`; a dict as default is copied for each instance."""
        assert frozen
        return _with_methods

    def _with_methods(cls):
        for name in ("__init__", "__eq__", "__hash__", "__repr__", "__setattr__", "__delattr__"):
            setattr(cls, name, vars(_Methods)[name])
        cls.__dataclass_fields__ = _Fields()
        return cls

    class _Methods:
        def __init__(self, *args, **named):
            cls = type(self)
            given = {**dict(zip(cls.__annotations__, args, strict=False)), **named}
            if len(given) < len(args) + len(named) or given.keys() - cls.__annotations__.keys():
                raise TypeError(f"{cls.__name__} takes {', '.join(cls.__annotations__)}; got {args} and {named}")
            for name in cls.__annotations__:
                if name not in given and name not in vars(cls):
                    raise TypeError(f"{cls.__name__} needs {name}")
                value = given[name] if name in given else vars(cls)[name]
                self.__dict__[name] = value if name in given or not isinstance(value, dict) else dict(value)

        def __eq__(self, other):
            return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

        def __hash__(self):
            return hash(tuple(vars(self).values()))

        def __repr__(self):
            return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

        def __setattr__(self, name, value):
            raise AttributeError(f"{type(self).__name__} is a value, whose {name} is not set")

        def __delattr__(self, name):
            raise AttributeError(f"{type(self).__name__} is a value, whose {name} is not deleted")

    class _Fields:
        """The descriptor that creates `__dataclass_fields__` when a function of `dataclasses` needs it."""

        def __get__(self, instance, cls):
            import dataclasses

            body = {"__annotations__": cls.__annotations__}
            for name in cls.__annotations__.keys() & vars(cls).keys():
                value = vars(cls)[name]
                body[name] = dataclasses.field(default_factory=dict) if isinstance(value, dict) else value
            made = dataclasses.dataclass(frozen=True)(type(cls.__name__, (), body))
            cls.__dataclass_fields__ = made.__dataclass_fields__
            return cls.__dataclass_fields__
