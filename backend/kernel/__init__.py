"""What everything stands on: ids, clock, errors, limits. Imports nothing of ours."""
