"""The operator's ways to the world: the Kubernetes API, coordinators' progress, its own credentials."""
