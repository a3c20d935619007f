"""PostgreSQL and Valkey from Python wheels, started as plain child processes of whoever asks. Standard library only."""
