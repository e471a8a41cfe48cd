"""FedCore: federated learning with a declared quorum, exact averages and rounds that survive any process."""

from importlib.metadata import version

__version__ = version("fedcore")
