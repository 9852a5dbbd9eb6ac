"""VMmanager 6 behind the port `Platform`, over its HTTP API."""

from stream.adapters.vmmanager.client import Outcome, RequestObserver
from stream.adapters.vmmanager.platform import Vmmanager
from stream.adapters.vmmanager.settings import Credentials, LongLivedToken, VmmanagerSettings

__all__ = ["Credentials", "LongLivedToken", "Outcome", "RequestObserver", "Vmmanager", "VmmanagerSettings"]
