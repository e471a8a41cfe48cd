"""The FedCore operator: FederatedJobs on Kubernetes. ``api``, ``plan`` and ``decide`` are pure; see README.md beside this file."""
