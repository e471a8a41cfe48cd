"""The desired objects: functions that return manifests and know neither client nor status nor clock."""
