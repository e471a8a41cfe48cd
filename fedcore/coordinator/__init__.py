"""The server around the engine: sockets, spool, checkpoints, the run directory."""
