"""Celery's tasks by name, and the one table that routes them."""

from enum import StrEnum


class Queue(StrEnum):
    TERRAFORM = "terraform"
    PROXMOX = "proxmox"
    DEFAULT = "default"


class TaskName(StrEnum):
    RUN = "runs.execute"
    ACTION = "actions.execute"
    INVENTORY = "inventory.poll"
    SWEEP = "sweeper.tick"
    DELIVERY = "deliveries.execute"
    SCHEDULES = "schedules.tick"
    EXECUTION = "schedules.execute"
    SAFE_CHANGE = "safe_changes.execute"
    STATISTICS = "statistics.refresh"


ROUTES: dict[TaskName, Queue] = {
    TaskName.RUN: Queue.TERRAFORM,
    TaskName.ACTION: Queue.PROXMOX,
    TaskName.INVENTORY: Queue.PROXMOX,
    TaskName.SWEEP: Queue.DEFAULT,
    TaskName.DELIVERY: Queue.DEFAULT,
    TaskName.SCHEDULES: Queue.DEFAULT,
    TaskName.EXECUTION: Queue.DEFAULT,
    TaskName.SAFE_CHANGE: Queue.PROXMOX,
    TaskName.STATISTICS: Queue.DEFAULT,
}
