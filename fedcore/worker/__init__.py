"""The worker: dials out to a coordinator, trains on its own data, and sends back weights, counts and metrics."""

from fedcore.worker.options import InvalidOptions, Options

__all__ = ["InvalidOptions", "Options"]
