"""What operators look at in a browser."""

from stream.web.pages.errors import error_page
from stream.web.pages.router import pages_router

__all__ = ["error_page", "pages_router"]
