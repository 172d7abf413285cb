"""What every answer has in common: headers, the one shape of an error, the app's own files, limits, logs, health."""
