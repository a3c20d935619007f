"""Figures of the whole product beside what the same work costs by hand or on bare parts: `python -m tests.bench --help`."""
