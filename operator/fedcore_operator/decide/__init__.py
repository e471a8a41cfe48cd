"""What follows from what is: functions of (job, observation, now)."""
