"""What remains of a run: its directory, the tables and the summary that are derived from its events."""
