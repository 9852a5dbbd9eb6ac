"""What a customer sees of the own service, by a signed link."""

from stream.web.customer.links import make_link
from stream.web.customer.routes import customer_router

__all__ = ["customer_router", "make_link"]
