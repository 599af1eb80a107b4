"""Classes that only the library can make: what an ``open_*`` function or a method returns has no other door."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol, TypeVar

__all__ = ["NoPublicConstructor"]

T = TypeVar("T")


class HasFace(Protocol):
    """A part of the core that one object of the user's stands for.

    Attributes:
        face: That object.
    """

    face: object


class NoPublicConstructor(type):
    """The metaclass of a class that cannot be called. ``create`` makes its objects.

    It is not ``_create``, as it is the library's own modules that call it; on the objects it does not show.
    """

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} has no public constructor: its docstring says what makes it"
        )

    def create(cls: type[T], *args: Any, **kwargs: Any) -> T:
        """Make an object of the class."""
        made: T = type.__call__(cls, *args, **kwargs)
        return made

    def of(cls: type[T], core: HasFace) -> T:
        """Return the one object of the class that stands for a part of the core, and make it if there is none."""
        if not isinstance(core.face, cls):
            core.face = type.__call__(cls, core)
        face = core.face
        assert isinstance(face, cls)
        return face
