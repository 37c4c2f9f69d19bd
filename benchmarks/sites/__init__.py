"""Which site the client chooses, and how it gets away from one that fails: measured, beside what others do."""
