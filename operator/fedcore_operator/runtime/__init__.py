"""The operator as a process: events in, one pass over a job at a time, and what keeps it honest."""
