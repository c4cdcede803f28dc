"""What SQLModel classes are made of: field types, base classes, constraints."""

from songbook.models import constraints

__all__ = ["constraints"]
