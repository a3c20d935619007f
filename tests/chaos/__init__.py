"""The chaos suite: a seeded crowd of users, faults in the middle of their runs, and what must be true afterwards."""
