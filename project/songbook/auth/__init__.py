"""Who sends a request, and what they may do."""

from songbook.auth.routes import router

__all__ = ["router"]
