"""What goes wrong: all faults, in the order of the table."""

from tests.chaos import faults_points, faults_processes, faults_proxmox, faults_surroundings
from tests.chaos.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *faults_processes.FAULTS, *faults_points.FAULTS, *faults_proxmox.FAULTS, *faults_surroundings.FAULTS,
)  # fmt: skip
