"""Rounds, membership, quorum and workload as pure functions of (state, event, now): no clock, socket, thread or randomness inside."""
