"""``kubectl fedjob``: a FederatedJob on a cluster, watched, reported, read and explained. `main` puts it together."""
