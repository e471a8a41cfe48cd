"""Names, settings, the job as it is parsed from the API, conditions."""
