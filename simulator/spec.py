# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo cluster: nodes, storages, networks, templates, guests of other people, and the token's privileges."""

import time
from typing import Any

from fakepve import FakeVm
from fakepve.qemu import with_mac

from simulator.base import GIB, MIB, Base, Fields

VM_PRIVILEGES = [
    "VM.Allocate", "VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit",
    "VM.Config.Disk", "VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options",
    "VM.Console", "VM.GuestAgent.Audit", "VM.Migrate", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
]  # fmt: skip
ROLE = {
    "/vms": VM_PRIVILEGES,
    "/storage": ["Datastore.Audit", "Datastore.AllocateSpace"],
    "/sdn": ["SDN.Use", "SDN.Audit"],
    "/nodes": ["Sys.Audit"],
    "/pool": ["Pool.Audit"],
    "/": ["Sys.Audit"],
}
FIRST_SYNTHETIC = 10000


def _guest(vmid: int, name: str, node: str, gib: int, address: str, running: bool, **config: Any) -> Fields:
    return {
        "vmid": vmid, "name": name, "node": node, "storage": "ceph", "gib": gib, "running": running,
        "config": {"ipconfig0": f"ip={address}/22,gw=10.20.0.1", **config},
    }  # fmt: skip


DEMO: Fields = {
    "cluster": "demo",
    "pool": "servers",
    "user": "tpm@pve",
    "token": "tpm",
    "nodes": [
        {"name": "pve1", "cpus": 32, "memory_gib": 128},
        {"name": "pve2", "cpus": 32, "memory_gib": 128},
        {"name": "pve3", "cpus": 16, "memory_gib": 64},
    ],
    "storages": {
        "local": {"type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup", "total_gib": 100},
        "local-lvm": {
            "type": "lvmthin", "vgname": "pve", "thinpool": "data", "content": "images,rootdir", "total_gib": 900,
        },
        "nfs": {
            "type": "nfs", "path": "/mnt/pve/nfs", "server": "192.0.2.9", "export": "/tank", "shared": 1,
            "content": "images,iso,snippets,backup", "total_gib": 4000,
        },
        "ceph": {"type": "rbd", "pool": "ceph", "shared": 1, "content": "images,rootdir", "total_gib": 8000},
    },
    "networks": [
        {"iface": "vmbr0", "type": "bridge", "bridge_ports": "eno1", "cidr": "192.0.2.{n}/24"},
        {"iface": "vmbr1", "type": "bridge", "bridge_ports": "eno2", "bridge_vlan_aware": 1},
        {"iface": "vmbr0.20", "type": "vlan", "vlan-id": 20, "vlan-raw-device": "vmbr0"},
    ],
    "templates": [
        {"vmid": 9000, "name": "ubuntu-24.04", "node": "pve1", "storage": "nfs", "gib": 10, "age_days": 40},
        {"vmid": 9001, "name": "debian-12", "node": "pve1", "storage": "nfs", "gib": 8, "age_days": 75},
        {"vmid": 9002, "name": "rocky-9", "node": "pve2", "storage": "local-lvm", "gib": 10, "age_days": 230},
    ],
    # Their addresses lie where people will ask for some: what is taken here is really taken.
    "guests": [
        _guest(101, "legacy-db", "pve1", 200, "10.20.0.60", True, cores=8, memory="32768", tags="finance",
               description="Accounts database. Ask Petra before touching it."),
        _guest(102, "win-fileserver", "pve2", 400, "10.20.0.61", True, cores=4, memory="16384", ostype="win11"),
        _guest(103, "mail-01", "pve1", 80, "10.20.0.62", True, cores=2, memory="8192"),
        _guest(104, "build-runner", "pve3", 120, "10.20.0.70", True, cores=8, memory="16384", tags="ci"),
        _guest(105, "old-wiki", "pve3", 20, "10.20.0.71", False, cores=1, memory="2048",
               description="Switched off in spring, kept until the export is checked."),
        _guest(106, "monitoring", "pve2", 60, "10.20.1.10", True, cores=2, memory="4096"),
    ],
}  # fmt: skip


class Seeds(Base):
    """Guests put into the cluster without a task."""

    def seed_cluster(self) -> None:
        """Put the specification's templates and guests into an empty cluster."""
        for row in self.spec.get("templates", []):
            made = {"meta": f"creation-qemu=9.2.0,ctime={int(time.time()) - row['age_days'] * 86_400}"} if "age_days" in row else {}
            self.seed(row["vmid"], row["name"], row["node"], row["storage"], row["gib"], template=True, **made)
        for row in self.spec.get("guests", []):
            vm = self.seed(row["vmid"], row["name"], row["node"], row["storage"], row["gib"], **row.get("config", {}))
            if row.get("running"):
                self.power_on(vm, self.started + row["vmid"] * 600)

    def seed(
        self, vmid: int, name: str, node: str, sid: str, gib: int, template: bool = False, **config: Any
    ) -> FakeVm:
        """Add a guest with a disk, a cloud-init drive and a NIC."""
        vm = self.add_vm(vmid, name, node=node, template=template)
        folder, suffix = (f"{vmid}/", ".qcow2") if self.is_file(sid) else ("", "")
        disk = f"{folder}{'base' if template else 'vm'}-{vmid}-disk-0{suffix}"
        cloud = f"{folder}vm-{vmid}-cloudinit{suffix}"
        for volume, size in ((disk, gib * GIB), (cloud, 4 * MIB)):
            self._volumes(sid)[volume] = {
                "content": "images", "format": suffix[1:] or "raw", "size": size, "vmid": vmid,
                "ctime": int(time.time()), "node": self.home_of(sid, node),
            }  # fmt: skip
        vm.config |= {
            "cores": 1, "memory": "1024", "scsihw": "virtio-scsi-single", "ostype": "l26", "agent": "1",
            "scsi0": f"{sid}:{disk},size={gib}G", "ide2": f"{sid}:{cloud},media=cdrom,size=4M",
            "net0": with_mac("virtio,bridge=vmbr0"), "serial0": "socket", "boot": "order=scsi0",
        }  # fmt: skip
        vm.config |= config | ({"template": 1} if template else {})
        return vm

    def populate(self, count: int) -> None:
        """Add synthetic guests, spread over the nodes, two of three running; those of an earlier start stay."""
        if self.vm(FIRST_SYNTHETIC) is not None:
            return
        names = sorted(self.nodes)
        for i in range(count):
            vm = self.seed(
                FIRST_SYNTHETIC + i, f"app-{i:05d}", names[i % len(names)], "ceph", 8 + i % 5 * 8, cores=1 + i % 4,
                memory=str(1024 << i % 4), tags="synthetic", ipconfig0=f"ip=10.{i >> 16}.{i >> 8 & 255}.{i & 255}/8",
            )  # fmt: skip
            if i % 3:
                self.power_on(vm, self.started)
