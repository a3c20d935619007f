# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m simulator --dir DATA --port N`."""

from simulator.cluster import main

main()
