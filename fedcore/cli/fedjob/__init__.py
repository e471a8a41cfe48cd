"""``kubectl fedjob``: a FederatedJob on a cluster, watched, read and explained. `main` puts it together."""
