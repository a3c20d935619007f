"""Starts, watches and stops the processes of one instance. Nothing heavy is imported here: it stays in memory."""
