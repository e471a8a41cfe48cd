"""What can go wrong with the test cluster, as one tree."""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says why and where to look."""


class Unavailable(ClusterError):  # noqa: N818  # an outcome: tests are skipped with this reason
    """This machine cannot run a test cluster at all."""
