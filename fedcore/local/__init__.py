"""A job on this machine: a coordinator and its workers as processes on loopback, supervised by the operator's own restart policy."""
