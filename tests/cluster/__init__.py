"""A real Kubernetes on one Linux machine, for the tests and for trying things out: ``python -m tests.cluster``.

Every component is the real one, compiled from Go modules and cached. A machine of the cluster is a set of Linux namespaces
(processes, mounts, network) under one small init process, so that the kernel itself takes everything away when that process
ends: nothing has to be unmounted, unplugged or killed one by one, even after the starter got SIGKILL.
"""
