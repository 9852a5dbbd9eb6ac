"""A VMmanager that behaves as far as is known like a real one, over VMs with habits that obey their limits."""

from stream.simulator.app import Simulator, create_app
from stream.simulator.faults import Fault, Faults
from stream.simulator.knobs import Knobs
from stream.simulator.machine import Machine
from stream.simulator.world import Task, World

__all__ = ["Fault", "Faults", "Knobs", "Machine", "Simulator", "Task", "World", "create_app"]
