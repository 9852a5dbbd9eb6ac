"""Who may come in, and do what."""

from stream.web.access.access import Access, Operator, Reader, operating, reading
from stream.web.access.principal import Principal, Role
from stream.web.access.routes import access_router

__all__ = ["Access", "Operator", "Principal", "Reader", "Role", "access_router", "operating", "reading"]
