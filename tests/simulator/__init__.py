"""The VMmanager simulator: what it says, what it hides, and that its VMs obey."""
