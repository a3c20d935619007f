"""Texts of failures that Terraform brings from Proxmox: what happened, and what to do next."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

MESSAGES: dict[str, LazyString] = {
    # reaching Proxmox
    "proxmox_root_only": _l("Proxmox allows this to root@pam alone, not to %(auth_id)s."),
    "proxmox_not_implemented": _l("%(endpoint)s does not know what was asked of it: %(reason)s"),
    "node_silent": _l("%(node)s did not answer the rest of the cluster in time."),
    # what the request names
    "vm_elsewhere": _l("VM %(vmid)s is not on %(node)s any more: it was moved."),
    "template_local": _l("The template lies on a local storage and cannot be cloned to %(node)s."),
    "storage_local": _l("The storage %(storage)s belongs to one node; a clone for another node needs a shared one."),
    "storage_elsewhere": _l("The storage %(storage)s is not there on %(node)s."),
    "storage_disabled": _l("The storage %(storage)s is switched off or not reachable."),
    "provider_refused": _l("The Proxmox provider refused a value: %(reason)s"),
    "snapshot_prevents": _l("Proxmox refuses this while the VM has snapshots."),
    "disk_in_use": _l("%(volume)s is still in use, by a snapshot or a linked clone."),
    "vm_protected": _l("The VM is protected against removal in Proxmox."),
    # what Proxmox is busy with
    "storage_busy": _l("The storage %(storage)s was busy for too long: other disks are being made on it."),
    # tasks that end in an error
    "task_failed": _l("Proxmox's task ended in an error: %(reason)s"),
    "task_stopped": _l("Somebody stopped the task in Proxmox."),
    "disk_too_slow": _l("The storage was too slow: %(command)s did not finish in time."),
    "stop_failed": _l("Proxmox could not stop the VM in time."),
    "node_without_kvm": _l("%(node)s cannot run virtual machines: KVM is not available."),
    # Terraform and time
    "provider_died": _l("The Proxmox provider for Terraform ended unexpectedly."),
    "clone_timed_out": _l("The clone took longer than the time limit for clones."),
}

HINTS: dict[str, LazyString] = {
    "proxmox_root_only": _l("Undo in the template what only root@pam may set, such as passed-through devices, or use another template."),
    "proxmox_not_implemented": _l("Look whether a proxy rewrites paths and whether this Proxmox VE is 8 or newer."),
    "node_silent": _l("Look at the node's load and network, then try again."),
    "vm_elsewhere": _l("Try again: the new node is read from Proxmox."),
    "template_local": _l("Leave the node to us, or move the template to a shared storage."),
    "storage_local": _l("Choose a shared storage, or the node that has the template."),
    "storage_elsewhere": _l("Choose a storage of this node, or another node."),
    "storage_disabled": _l("Choose another storage, or switch this one on in Datacenter › Storage."),
    "provider_refused": _l("Change the value and ask again."),
    "snapshot_prevents": _l("Delete the server's snapshots, then try again."),
    "disk_in_use": _l("Delete what uses it in Proxmox, then try again."),
    "vm_protected": _l("Switch off Options › Protection of the VM in Proxmox, then try again."),
    "storage_busy": _l("Try again in a moment; with many clones at once, allow fewer of them in the settings."),
    "task_failed": _l("Terraform's words have the task's log; mend the cause and try again."),
    "task_stopped": _l("Ask who did and why, then try again."),
    "disk_too_slow": _l("Look at the load of the storage, then try again."),
    "stop_failed": _l("Look at the VM's console in Proxmox, then try again."),
    "node_without_kvm": _l("Switch on virtualization in the node's BIOS, or choose another node."),
    "provider_died": _l("Look at the memory of the worker's machine, then try again."),
    "clone_timed_out": _l("Look at the load of the storage; a large template on a slow one needs a higher limit."),
    # also told by the runner itself
    "proxmox_error": _l("Try again in a moment."),
    "server_gone": _l("Create it again."),
    "run_deadline": _l("Look at what is there; ask for fewer servers at once, or raise RUN_DEADLINE_S."),
    "import_failed": _l("Look at the VM in Proxmox, then try again."),
}
