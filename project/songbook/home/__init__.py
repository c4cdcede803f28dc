"""The home page at `/`, and its icon."""

from songbook.home.routes import home_response as home_response
from songbook.home.routes import router as router
