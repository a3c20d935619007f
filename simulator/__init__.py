# SPDX-License-Identifier: AGPL-3.0-or-later
"""A simulated Proxmox VE cluster. It runs as a process of its own and is reached over HTTPS only."""
