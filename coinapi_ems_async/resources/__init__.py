"""What a user calls, one group for each subject."""
