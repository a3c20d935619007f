# SPDX-License-Identifier: AGPL-3.0-or-later
"""A demo Proxmox VE cluster: fakepve (AGPL) plus what real clients need. Runs as its own process.

    python simulator.py --dir DATA [--spec cluster.json] [--port 8006] [--control-port 8007] [--guests 10000]

DATA gets fakepve.crt (give it to clients as their CA), connection.json (address and credentials, mode 0600)
and state.json. Times are PVE seconds; --time-scale turns them into real ones (0: tasks end at once).
"""
import argparse
import asyncio
import collections
import contextlib
import copy
import functools
import ipaddress
import itertools
import json
import logging
import math
import os
import re
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakePve, FakeVm, PveError, TaskError, schema
from fakepve.certs import make_cert
from fakepve.lxc import format_size, parse_size
from fakepve.model import lock_timeout
from fakepve.qemu import DRIVE_KEY, drives_of, is_cdrom, join_drive, split_drive, volume_ref, with_mac
from fakepve.routing import die, param_error, split_list
from fakepve.server import error, ok

Dict = dict[str, Any]
Step = str | tuple[float, str]
GIB, MIB = 1024 ** 3, 1024 ** 2
COPY_RATE, RAM_RATE, BOOT_SECS = 200 * MIB, 1024 * MIB, 8.0  # bytes and PVE seconds
SECS = {'qmstart': 3, 'qmshutdown': 6, 'qmstop': 1, 'qmreboot': 9, 'qmreset': 1, 'qmsuspend': 2, 'qmresume': 1,
        'qmsnapshot': 3, 'qmdelsnapshot': 2, 'qmrollback': 3, 'qmdestroy': 2, 'qmtemplate': 2, 'qmcreate': 2, 'resize': 1}
# hotplug=network,disk,usb (PVE's default) and the live cgroup options; everything else waits for a restart.
HOT = re.compile(r'^(?:(?:net|scsi|virtio|usb|unused)\d+|balloon|shares|cpulimit|cpuunits|description|tags|name)$')
PRIVS = ('VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk '
         'VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit '
         'VM.Migrate VM.PowerMgmt VM.Snapshot VM.Snapshot.Rollback').split()
ROLE = {'/vms': PRIVS, '/storage': ['Datastore.Audit', 'Datastore.AllocateSpace'], '/sdn': ['SDN.Use', 'SDN.Audit'],
        '/nodes': ['Sys.Audit'], '/pool': ['Pool.Audit'], '/': ['Sys.Audit']}
KEPT = ('name', 'node', 'status', 'qmpstatus', 'config', 'pending', 'template', 'lock', 'pool', 'snapshots', 'started_at')
DEMO: Dict = {
    'cluster': 'demo', 'pool': 'servers', 'user': 'tpm@pve', 'token': 'tpm',
    'nodes': [{'name': 'pve1', 'cpus': 32, 'memory_gib': 128}, {'name': 'pve2', 'cpus': 32, 'memory_gib': 128},
              {'name': 'pve3', 'cpus': 16, 'memory_gib': 64}],
    'storages': {'local': {'type': 'dir', 'path': '/var/lib/vz', 'content': 'iso,vztmpl,backup', 'total_gib': 100},
                 'local-lvm': {'type': 'lvmthin', 'vgname': 'pve', 'thinpool': 'data', 'content': 'images,rootdir',
                               'total_gib': 900},
                 'nfs': {'type': 'nfs', 'path': '/mnt/pve/nfs', 'server': '192.0.2.9', 'export': '/tank', 'shared': 1,
                         'content': 'images,iso,snippets,backup', 'total_gib': 4000},
                 'ceph': {'type': 'rbd', 'pool': 'ceph', 'shared': 1, 'content': 'images,rootdir', 'total_gib': 8000}},
    'networks': [{'iface': 'vmbr0', 'type': 'bridge', 'bridge_ports': 'eno1', 'cidr': '192.0.2.{n}/24'},
                 {'iface': 'vmbr1', 'type': 'bridge', 'bridge_ports': 'eno2', 'bridge_vlan_aware': 1},
                 {'iface': 'vmbr0.20', 'type': 'vlan', 'vlan-id': 20, 'vlan-raw-device': 'vmbr0'}],
    'templates': [{'vmid': 9000, 'name': 'ubuntu-24.04', 'node': 'pve1', 'storage': 'nfs', 'gib': 10},
                  {'vmid': 9001, 'name': 'debian-12', 'node': 'pve1', 'storage': 'nfs', 'gib': 8},
                  {'vmid': 9002, 'name': 'rocky-9', 'node': 'pve2', 'storage': 'local-lvm', 'gib': 10}]}


def human(size: float) -> str:
    """A byte count as PVE::Format::render_bytes writes it: 1.2 GiB."""
    unit = min(int(math.log(size, 1024)), 5) if size >= 1 else 0
    return f"{size / 1024 ** unit:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[unit]}"


def wave(seed: int, period: float, now: float) -> float:
    """A figure in 0..1 that moves with time and is the same for the same seed and time."""
    return 0.5 + 0.3 * math.sin(6.283 * now / period + seed * 1.7) + 0.2 * math.sin(16.98 * now / period + seed)


def transfer(size: int, line: str) -> Iterator[Step]:
    """Progress lines of a copy, one a percent (fewer for small disks), in the wording of `line`."""
    parts = max(1, min(100, size // (100 * MIB)))
    for i in range(parts + 1):
        yield (size / COPY_RATE / parts if i else 0.0,
               line.format(done=human(size * i // parts), total=human(size), pct=100 * i / parts))


def write_private(path: Path, data: Any) -> None:
    """Write JSON for this user only: a new file, synced, then renamed over the old one."""
    temp = path.with_suffix('.tmp')
    with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as out:
        json.dump(data, out)
        out.flush()
        os.fsync(out.fileno())
    temp.replace(path)


@functools.cache
def integer_key(key: str) -> bool:
    """True for a config key that the API schema types as integer or boolean: PVE answers a JSON number."""
    props = schema.load().paths['/nodes/{node}/qemu/{vmid}/config']['PUT']['parameters']['properties']
    return props.get(key, {}).get('type') in ('integer', 'boolean')


class Guests(list):
    """The VM list with an index by id: fakepve walks the list for every lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[int, FakeVm] = {}

    def append(self, vm: FakeVm) -> None:
        super().append(vm)
        self.by_id[vm.vmid] = vm

    def remove(self, vm: FakeVm) -> None:
        super().remove(vm)
        self.by_id.pop(vm.vmid, None)


class Simulator(FakePve):
    """The demo cluster: fakepve with real durations, logs, sizes, figures, hotplug, backups, moves and state."""

    def __init__(self, spec: Dict, folder: Path, host: str = '127.0.0.1', port: int = 8006) -> None:
        self.keys_file = folder / 'connection.json'
        old = json.loads(self.keys_file.read_text()) if self.keys_file.exists() else {}
        super().__init__('root@pam', spec.get('password') or old.get('password') or secrets.token_urlsafe(12), host, port)
        self.spec, self.folder, self.started, self.dirty = spec, folder, time.time() - 864000, False
        self.vms, self.cluster_name, self.time_scale = Guests(), spec['cluster'], 1.0
        self.clone_limit = 0
        self.clone_log: Iterator[Step] = iter(())
        self.cloning: collections.Counter[Any] = collections.Counter()
        self.aborted: set[str] = set()
        self.nodes = {n['name']: {'online': True, **n} for n in spec['nodes']}
        self.storages = {sid: {'active': 1, 'files': set(), 'volumes': {}, **s} for sid, s in spec['storages'].items()}
        self.pools: dict[str, set[int]] = {spec['pool']: set()}
        self.token_id = f"{spec['user']}!{spec['token']}"
        secret = spec.get('secret') or old.get('token_secret') or '-'.join(secrets.token_hex(n) for n in (4, 2, 2, 2, 6))
        self.apitokens = {self.token_id: secret}
        self.clone_seconds: float | None = None
        for path, privs in ROLE.items():
            self.grant(spec['user'], path, *privs)
        if not self.load():
            for t in spec['templates']:
                self.seed(t['vmid'], t['name'], t['node'], t['storage'], t['gib'], template=True)

    def seed(self, vmid: int, name: str, node: str, sid: str, gib: int, template: bool = False, **extra: Any) -> FakeVm:
        """Add a guest with a disk, a cloud-init drive and a NIC."""
        vm, volumes = self.add_vm(vmid, name, node=node, template=template), self._volumes(sid)
        pre, ext = (f'{vmid}/', '.qcow2') if self.is_file(sid) else ('', '')
        disk, cloud = f"{pre}{'base' if template else 'vm'}-{vmid}-disk-0{ext}", f'{pre}vm-{vmid}-cloudinit{ext}'
        for volume, size in ((disk, gib * GIB), (cloud, 4 * MIB)):
            volumes[volume] = {'content': 'images', 'format': ext[1:] or 'raw', 'size': size, 'vmid': vmid,
                               'ctime': int(time.time()), 'node': None if self.storages[sid].get('shared') else node}
        vm.config.update({'cores': 1, 'memory': '1024', 'scsihw': 'virtio-scsi-single', 'ostype': 'l26', 'agent': '1',
                          'scsi0': f'{sid}:{disk},size={gib}G', 'ide2': f'{sid}:{cloud},media=cdrom,size=4M',
                          'net0': with_mac('virtio,bridge=vmbr0'), 'serial0': 'socket', 'boot': 'order=scsi0'})
        vm.config.update(extra, **({'template': 1} if template else {}))
        return vm

    def populate(self, count: int) -> None:
        """Synthetic guests for scale tests, spread over the nodes, two of three running."""
        names = sorted(self.nodes)
        for i in range(count):
            vm = self.seed(10000 + i, f'app-{i:05d}', names[i % len(names)], 'ceph', 8 + i % 5 * 8, cores=1 + i % 4,
                           memory=str(1024 << i % 4), tags='synthetic', ipconfig0=f'ip=10.{i >> 16}.{i >> 8 & 255}.{i & 255}/8')
            if i % 3:
                vm.status, vm.qmpstatus, vm.started_at = 'running', 'running', self.started

    # ------------------------------------------------------------------ state
    def save(self) -> None:
        """Write the cluster to state.json: a new file, synced, then renamed over the old one."""
        data = {'vms': {vm.vmid: {k: getattr(vm, k) for k in KEPT} for vm in self.vms}, 'tasks': self.tasklog[-500:],
                'volumes': {sid: s['volumes'] for sid, s in self.storages.items()}, 'tickets': self.tickets,
                'pools': {k: sorted(v) for k, v in self.pools.items()}, 'firewall': self._fw(), 'saved': time.time()}
        write_private(self.folder / 'state.json', data)
        self.dirty = False

    def load(self) -> bool:
        """Read state.json; work cut off by the stop is undone (half clones) or reported (tasks)."""
        path = self.folder / 'state.json'
        if not path.exists():
            return False
        data = json.loads(path.read_text())
        for sid, volumes in data['volumes'].items():
            self.storages.setdefault(sid, {'active': 0, 'files': set()})['volumes'] = volumes
        for vmid, kept in data['vms'].items():
            vm = self.add_vm(int(vmid), kept['name'], node=kept['node'])
            vars(vm).update(kept)
            if vm.lock in ('clone', 'create'):
                self.discard(vm)
            elif vm.lock and vm.lock != 'suspended':
                self._qm_lock(vm, None)
        self.pools, self.tickets = {k: set(v) for k, v in data['pools'].items()}, data['tickets']
        self._fw().update(data['firewall'], guests={int(k): v for k, v in data['firewall']['guests'].items()})
        for task in data['tasks']:
            if task['status'] == 'running':
                task.update(status='stopped', exitstatus='unexpected status', endtime=int(data['saved']))
            self.tasks[task['upid']] = task
        self.tasklog, self._pids = data['tasks'], itertools.count(1000 + len(data['tasks']))
        return True

    async def _answer(self, request: web.Request, handler: Any, generic: Any, node: str | None) -> web.StreamResponse:
        try:
            if node and node not in self.nodes:
                return error(500, f"hostname lookup '{node}' failed - failed to get address info for: {node}: "
                                  'Name or service not known')
            return await super()._answer(request, handler, generic, node)
        finally:
            self.dirty |= request.method != 'GET'

    # ------------------------------------------------------------------ lookups, space, figures
    def vm(self, vmid: int) -> Any:
        return self.vms.by_id.get(vmid)

    def is_file(self, sid: str) -> bool:
        """True if the storage holds files (images, backups), not block volumes."""
        return self.storages[sid]['type'] in ('dir', 'nfs', 'cifs', 'cephfs', 'btrfs')

    def _volumes(self, name: str) -> Dict:
        return self.storages[name].setdefault('volumes', {})

    def _options_of(self, store: Dict) -> Dict:
        return {k: v for k, v in FakePve._options_of(store).items() if k not in ('total_gib', 'fill')}

    def room(self, sid: str, node: str) -> tuple[int, int, int]:
        """(total, used, free) bytes of a storage, as seen from a node: local storages have their own space."""
        store = self.storages[sid]
        used = store.get('fill', 0) + sum(int(v.get('size') or 0) for v in store['volumes'].values()
                                          if store.get('shared') or v.get('node') == node)
        total = store.get('total_gib', 100) * GIB
        return total, min(used, total), max(total - used, 0)

    def _space(self, store: Dict) -> tuple[int, int, int]:
        return 0, 0, 0  # no node to ask for; _status_item fills the figures in

    def _status_item(self, name: str, node: str, formats: bool = False) -> Dict:
        item = super()._status_item(name, node, formats)
        if item['active']:
            item.update(zip(('total', 'used', 'avail'), self.room(name, node), strict=True))
        return item

    def _storage_resource(self, node: str, name: str) -> Dict | None:
        item = super()._storage_resource(node, name)
        if item:
            item['maxdisk'], item['disk'], _ = self.room(name, node)
        return item

    async def _content_list(self, v: Dict, user: str) -> list[Dict]:
        here = self._volumes(v['storage'])
        return [i for i in await super()._content_list(v, user)
                if here.get(i['volid'].partition(':')[2], {}).get('node') in (None, v['node'])]

    def _vm_usage(self, vm: FakeVm) -> Dict:
        data, now = super()._vm_usage(vm), time.time()
        if vm.status == 'running':
            secs, load = now - (vm.started_at or now), wave(vm.vmid, 600, now)
            busy = 0.0 if vm.qmpstatus == 'paused' else 0.01 + 0.6 * load ** 3
            mem = int(data['maxmem'] * (0.25 + 0.4 * wave(vm.vmid + 7, 3600, now)))
            rate = 20000 + vm.vmid % 97 * 900
            data.update(cpu=busy, mem=mem, memhost=mem + 96 * MIB, netin=int(secs * rate), netout=int(secs * rate * .6),
                        diskread=400 * MIB + int(secs * rate * .2), diskwrite=100 * MIB + int(secs * rate * .5))
        return data

    def node_stats(self, name: str) -> Dict:
        """Usage of a node: its own base load and the guests running on it."""
        node, now = self.nodes[name], time.time()
        if not node.get('online', True):
            return {}
        cpus, memory = node.get('cpus', 8), node.get('memory_gib', 32) * GIB
        use = [self._vm_usage(vm) for vm in self.vms if vm.node == name and vm.status == 'running']
        cpu = sum(u['cpu'] * u['maxcpu'] for u in use) / cpus + 0.01 + 0.04 * wave(len(name), 300, now)
        return {'cpu': min(cpu, 1.0), 'maxcpu': cpus, 'mem': min(2 * GIB + sum(u['mem'] for u in use), memory),
                'maxmem': memory, 'disk': 6 * GIB, 'maxdisk': 96 * GIB, 'uptime': int(now - self.started)}

    def node_item(self, name: str) -> Dict:
        """A node as /nodes and /cluster/resources list it."""
        return {'node': name, 'id': 'node/' + name, 'type': 'node', 'level': '', **self.node_stats(name),
                'status': 'online' if self.nodes[name].get('online', True) else 'offline'}

    async def _nodes(self, request: web.Request) -> web.Response:
        return ok([self.node_item(n) for n in sorted(self.nodes)])

    async def _resources(self, request: web.Request) -> web.Response:
        response = await super()._resources(request)
        data = json.loads(response.text or '')['data']
        return ok([self.node_item(i['node']) if i['type'] == 'node' else i for i in data])

    # ------------------------------------------------------------------ tasks
    async def task(self, node: str, ttype: str, tid: Any, user: str, body: Callable[[], Awaitable[str | None]],
                   vm: FakeVm | None = None, lock: bool = True, log: Iterable[Step] = ()) -> str:
        """As fakepve's, but `log` may hold (PVE seconds, line) steps and a task can be stopped (DELETE)."""
        upid, pid, start = self._upid(node, ttype, tid, user)
        lines: list[str] = []
        record = {'upid': upid, 'node': node, 'pid': pid, 'pstart': pid * 7, 'starttime': start, 'type': ttype,
                  'id': str(tid), 'user': user, 'status': 'running', 'log': lines}
        self.tasks[upid] = record
        self.tasklog.append(record)
        for old in self.tasklog[:-5000]:
            self.tasks.pop(old['upid'], None)
        del self.tasklog[:-5000]

        self.cloning[tid] += ttype == 'qmclone'
        steps = self.clone_log if ttype == 'qmclone' else log

        async def run() -> None:
            status, held = 'OK', False
            try:
                if vm is not None and lock:
                    await self.acquire(vm, upid)
                    held = True
                for step in itertools.chain([(SECS.get(ttype, 0), '')], steps):
                    secs, text = (0, step) if isinstance(step, str) else step
                    await self.pause(secs)
                    if upid in self.aborted:
                        raise TaskError('interrupted by signal')
                    lines.extend([text] if text else [])
                if vm is not None and ttype in ('qmstart', 'qmreboot'):
                    self.flush(vm)
                    for bridge in re.findall(r'bridge=([^,\']+)', str([vm.config[k] for k in vm.config if k[:3] == 'net'])):
                        if bridge not in {n['iface'] for n in self.spec['networks']}:
                            raise TaskError(f"bridge '{bridge}' does not exist")
                lines.extend((await body() or '').splitlines())
            except (TaskError, PveError) as e:
                status = getattr(e, 'message', None) or str(e)
            except Exception:  # noqa: BLE001 - a task must end
                logging.exception('task %s', upid)
                status = 'internal error'
            self.cloning[tid] -= ttype == 'qmclone'
            if isinstance(steps, Generator):
                steps.close()  # lets its `finally` free what it locked
            if held:
                self.release(vm, upid)
            if status != 'OK' and vm is not None and vm.lock in ('clone', 'create'):
                self.discard(vm)
            record.update(status='stopped', exitstatus=status, endtime=int(time.time()))
            lines.append('TASK OK' if status == 'OK' else 'TASK ERROR: ' + status)
            self.dirty = True
        await run() if not self.time_scale else asyncio.ensure_future(run())
        return upid

    async def _task_stop(self, v: Dict, user: str) -> None:
        record = self.tasks.get(v['upid'])
        if record is None:
            raise param_error(upid='no such task')
        if not self._task_owner(user, record):
            self.require(user, '/nodes/' + record['node'], 'Sys.Modify')
        self.aborted.add(v['upid'])

    async def _cluster_tasks(self, v: Dict, user: str) -> list[Dict]:
        return [self._task_view(t, True) for t in self.tasklog[-50:][::-1]
                if self._task_owner(user, t) or self.allowed(user, '/nodes/' + t['node'], 'Sys.Audit')]

    # ------------------------------------------------------------------ disks and config
    def _qm_free_name(self, sid: str, vmid: int, fmt: str) -> str:
        taken = [name for name in self._volumes(sid) if f'-{vmid}-disk-' in name]
        n = next(n for n in range(len(taken) + 1) if not any(re.search(f'-{vmid}-disk-{n}(?!\\d)', t) for t in taken))
        return f'vm-{vmid}-disk-{n}' + (f'.{fmt}' if self.is_file(sid) else '')

    def _qm_alloc(self, sid: str, vmid: int, fmt: str | None, size: int, linked_from: str | None = None) -> tuple[str, str]:
        node, store = self.vm(vmid).node, self._store(sid)
        if size > self.room(sid, node)[2]:
            raise die(f"unable to write to storage '{sid}': No space left on device")
        volid, fmt = super()._qm_alloc(sid, vmid, fmt, size, linked_from)
        store['volumes'][volume_ref(volid)[1]]['node'] = None if store.get('shared') else node
        return volid, fmt

    def _parse_volname(self, store: Dict, volname: str) -> tuple[str, int | None, str]:
        return super()._parse_volname(store, re.sub(r'^\d+/base-[^/]+/(?=\d+/)', '', volname))  # linked clone on files

    def _qm_new_drive(self, vmid: int, key: str, value: str, default: str | None) -> tuple[str, list[str]]:
        """As fakepve's, but a cloud-init drive gets PVE's name: vm-<id>-cloudinit."""
        volume, props = split_drive(value)
        if not volume.endswith(':cloudinit'):
            return super()._qm_new_drive(vmid, key, value, default)
        sid = volume_ref(volume)[0]
        name = f'{vmid}/vm-{vmid}-cloudinit.qcow2' if self.is_file(sid) else f'vm-{vmid}-cloudinit'
        if name not in self._volumes(sid):
            made = volume_ref(self._qm_alloc(sid, vmid, 'qcow2' if self.is_file(sid) else 'raw', 4 * MIB)[0])[1]
            self._volumes(sid)[name] = self._volumes(sid).pop(made)
        props.pop('format', None)
        return join_drive(f'{sid}:{name}', {**props, 'media': 'cdrom', 'size': '4M'}), [f'{sid}:{name}']

    def discard(self, vm: FakeVm) -> None:
        """Remove a guest and its disks without a task."""
        for _key, volume, _props in drives_of(vm.config):
            if (self._qm_volume(volume) or {}).get('vmid') == vm.vmid:
                self._qm_free(volume)
        if self.vm(vm.vmid) is vm:
            self.vms.remove(vm)
        self._pool_leave(vm.vmid)

    def detach(self, vm: FakeVm, key: str, old: Any, free: bool = False) -> None:
        """What follows the removal of a config key: a disk becomes unusedN; unusedN and cloud-init drives go."""
        volume, props = split_drive(str(old))
        if key.startswith('unused') or DRIVE_KEY.match(key):
            if free or key.startswith('unused') or 'cloudinit' in volume:
                self._qm_free(volume)
            elif not is_cdrom(volume, props):
                vm.config[next(f'unused{n}' for n in range(256) if f'unused{n}' not in vm.config)] = volume

    def flush(self, vm: FakeVm, only: re.Pattern[str] = re.compile('')) -> None:
        """Apply pending changes (those whose key matches) to the config."""
        for key in [k for k in vm.pending if only.match(k)]:
            value, old = vm.pending.pop(key), vm.config.pop(key, None)
            if value is not None:
                vm.config[key] = value
            elif old is not None:
                self.detach(vm, key, old)

    def _config_priv(self, key: str) -> str:
        cloud = key.startswith(('ci', 'ipconfig')) or key in ('sshkeys', 'nameserver', 'searchdomain')
        return 'VM.Config.Cloudinit' if cloud else super()._config_priv(key)

    async def _apply_config(self, vm: FakeVm, user: str, p: Dict) -> None:
        """Write a config as PVE does: disks allocated, NICs given a MAC, hotplug at once, the rest pending."""
        p, made, free = dict(p), [], str(p.get('force', '0')) in ('1', 'true')
        for name in ('force', 'background_delay', 'revert', 'node', 'vmid'):
            p.pop(name, None)
        self._check_lock(vm)
        before = {k: vm.config[k] for k in split_list(p.get('delete')) if k in vm.config}
        try:
            for key, value in p.items():
                if re.fullmatch(r'net\d+', key):
                    p[key] = with_mac(value)
                    self.require(user, '/sdn/zones/localnet/' + (re.findall(r'bridge=([^,]+)', value) or [''])[0], 'SDN.Use')
                elif key == 'tags':
                    p[key] = ';'.join(sorted(set(re.split(r'[;, ]+', str(value).lower())) - {''}))
                elif DRIVE_KEY.match(key):
                    self._qm_check_drive(user, vm.vmid, None, key, value, None)
                    p[key], new = self._qm_new_drive(vm.vmid, key, value, None)
                    made += new
            await super()._apply_config(vm, user, p)
        except PveError:
            for volid in made:
                self._qm_free(volid)
            raise
        for key, old in before.items():
            if key not in vm.config and key not in vm.pending:
                self.detach(vm, key, old, free)
        for key in [k for k, x in vm.pending.items() if x is not None and str(vm.config.get(k)) == str(x)]:
            del vm.pending[key]
        self.flush(vm, HOT)

    async def _config_get(self, request: web.Request) -> web.Response:
        """The config with pending changes merged (PVE's default; current=1 without), numbers typed as PVE sends them."""
        vm, q = self._vm(request, 'VM.Audit'), request.query
        if q.get('snapshot') and q['snapshot'] not in vm.snapshots:
            raise die(f"snapshot '{q['snapshot']}' does not exist")
        cfg = dict(vm.snapshots[q['snapshot']] if q.get('snapshot') else vm.config)
        cfg.update({} if q.get('snapshot') or q.get('current') in ('1', 'true') else vm.pending)
        data = {k: int(x) if integer_key(k) and re.fullmatch(r'-?\d+', str(x)) else str(x) if k == 'memory' else x
                for k, x in cfg.items() if x is not None}
        return ok({**data, 'digest': vm.digest()})

    # ------------------------------------------------------------------ clone, resize, move, migrate, backup
    def clone_steps(self, v: Dict) -> Iterator[Step]:
        """The log of `qm clone`, in the time the copy takes."""
        src = self.vm(v['vmid'])
        full = src is None or v.get('full', not src.template)
        for key, volume, props in drives_of(src.config):
            sid, size = v.get('storage') or volume_ref(volume)[0], parse_size(props.get('size', '0')) or 0
            yield f"create {'full' if full else 'linked'} clone of drive {key} ({volume})"
            if size > self.room(sid, src.node)[2]:
                raise TaskError(f"clone failed: unable to write to storage '{sid}': No space left on device")
            if 'cloudinit' in volume:  # the copy gets its own; fakepve's would share the template's
                new = self.vm(int(v['newid']))
                new.config[key] = self._qm_new_drive(new.vmid, key, f'{sid}:cloudinit', None)[0]
            elif full and not is_cdrom(volume, props):
                yield from transfer(size, 'transferred {done} of {total} ({pct:.2f}%)')

    async def _qm_clone(self, v: Dict, user: str) -> str:
        src = self.find(v['node'], v['vmid'])
        if src.lock_holder or 0 < self.clone_limit <= self.cloning[src.vmid]:
            await self.pause(1)
            raise die(lock_timeout(src.vmid))
        self.clone_log = self.clone_steps(v)  # task() takes it up before anything else can run
        return await super()._qm_clone(v, user)

    async def _resize(self, v: Dict, user: str) -> str:
        vm, key, text = self.find(v['node'], v['vmid']), v['disk'], str(v['size'])
        self._check_lock(vm)
        if key not in vm.config:
            raise die(f"disk '{key}' does not exist")
        volume, props = split_drive(vm.config[key])
        old = parse_size(props.get('size', '0')) or 0
        new = parse_size(text.lstrip('+')) + (old if text.startswith('+') else 0)
        if is_cdrom(volume, props):
            raise die("you can't resize a cdrom")
        if new < old:
            raise die('shrinking disks is not supported')

        async def body() -> None:
            if new - old > self.room(volume_ref(volume)[0], vm.node)[2]:
                raise TaskError(f"unable to write to storage '{volume_ref(volume)[0]}': No space left on device")
            self._qm_volume(volume)['size'] = new
            vm.config[key] = join_drive(volume, {**props, 'size': format_size(new)})
        return await self.task(vm.node, 'resize', vm.vmid, user, body, vm=vm)

    def relocate(self, vm: FakeVm, key: str, sid: str, fmt: str | None = None) -> str:
        """Give a drive a new volume on a storage; returns the old volume id."""
        volume, props = split_drive(vm.config[key])
        if 'cloudinit' in volume:
            vm.config[key] = self._qm_new_drive(vm.vmid, key, f'{sid}:cloudinit', None)[0]
        else:
            fmt = fmt or ('qcow2' if self.is_file(sid) else 'raw')
            vm.config[key] = join_drive(self._qm_alloc(sid, vm.vmid, fmt, parse_size(props.get('size', '0')) or 0)[0], props)
        return volume

    async def _move_disk(self, v: Dict, user: str) -> str:
        vm, key, sid = self.find(v['node'], v['vmid']), v['disk'], v['storage']
        self._check_lock(vm)
        if key not in vm.config:
            raise die(f"disk '{key}' does not exist")
        volume, props = split_drive(vm.config[key])
        if volume_ref(volume)[0] == sid and v.get('format') in (None, (self._qm_volume(volume) or {}).get('format')):
            raise die("you can't move to the same storage with same format")
        self._qm_image_store(sid, user)

        async def body() -> None:
            self.detach(vm, 'scsi', self.relocate(vm, key, sid, v.get('format')), bool(v.get('delete')))
        return await self.task(vm.node, 'qmmove', vm.vmid, user, body, vm=vm, log=[
            f'create full clone of drive {key} ({volume})',
            *transfer(parse_size(props.get('size', '0')) or 0, 'transferred {done} of {total} ({pct:.2f}%)')])

    async def _migrate_check(self, v: Dict, user: str) -> Dict:
        vm = self.find(v['node'], v['vmid'])
        local = [{'volid': vol, 'drivename': key, 'size': parse_size(pr.get('size', '0')), 'cdrom': int(is_cdrom(vol, pr))}
                 for key, vol, pr in drives_of(vm.config) if not self.storages[volume_ref(vol)[0]].get('shared')]
        return {'running': int(vm.status == 'running'), 'local_disks': local, 'local_resources': [], 'mapped-resources': [],
                'allowed_nodes': [n for n in sorted(self.nodes) if n != v['node'] and self.nodes[n].get('online', True)]}

    async def _migrate(self, v: Dict, user: str) -> str:
        vm, target = self.find(v['node'], v['vmid']), v['target']
        live, check = vm.status == 'running', await self._migrate_check(v, user)
        if target == v['node']:
            raise param_error(target='target is local node.')
        if target not in self.nodes:
            raise die(f"no such cluster node '{target}'")
        self.need_quorum()
        self._check_lock(vm)
        if live and not v.get('online'):
            raise die("can't migrate running VM without --online")

        def steps() -> Iterator[Step]:
            now = time.strftime('%Y-%m-%d %H:%M:%S')
            address = 11 + sorted(self.nodes).index(target)
            yield f"{now} starting migration of VM {vm.vmid} to node '{target}' (192.0.2.{address})"
            if not self.nodes[target].get('online', True):
                raise TaskError("migration aborted")
            if live and check['local_disks'] and not v.get('with-local-disks'):
                raise TaskError(f"can't migrate local disk '{check['local_disks'][0]['volid']}': can't live migrate attached "
                                'local disks without with-local-disks option')
            self._qm_lock(vm, 'migrate')
            try:
                for disk in check['local_disks']:
                    yield f"{now} copying local disk image: {disk['volid']}"
                    yield disk['size'] / COPY_RATE, ''
                ram = int(vm.config.get('memory', 512)) * MIB
                for i in range(1, 6 if live else 1):
                    yield ram / RAM_RATE / 5, (f'{now} migration active, transferred {human(ram * i // 5)} of {human(ram)} '
                                               f'VM-state, {human(RAM_RATE)}/s')
            finally:
                self._qm_lock(vm, None)

        async def body() -> str:
            vm.node = target
            for key, volume, _props in drives_of(vm.config):
                if not self.storages[volume_ref(volume)[0]].get('shared'):
                    self._qm_free(self.relocate(vm, key, v.get('targetstorage') or volume_ref(volume)[0]))
            return 'migration finished successfully'
        return await self.task(v['node'], 'qmigrate', vm.vmid, user, body, vm=vm, log=steps())

    async def _vzdump(self, v: Dict, user: str) -> str:
        """Back up VMs: an archive on the storage that restore (POST /qemu with archive) takes."""
        sid, node, vms = v.get('storage') or 'local', v['node'], [self.find(v['node'], i) for i in split_list(v.get('vmid'))]
        self.require(user, '/storage/' + sid, 'Datastore.AllocateSpace')
        if 'backup' not in split_list(self._store(sid).get('content')):
            raise die(f"could not get storage information for '{sid}': storage '{sid}' does not support backups")
        for vm in vms:
            self.require(user, f'/vms/{vm.vmid}', 'VM.Backup')

        def steps() -> Iterator[Step]:
            yield f"INFO: starting new backup job: vzdump {v.get('vmid')} --storage {sid} --mode {v.get('mode', 'snapshot')}"
            for vm in vms:
                stamp = time.strftime('%Y_%m_%d-%H_%M_%S')
                name, size = f'backup/vzdump-qemu-{vm.vmid}-{stamp}.vma.zst', self._vm_maxdisk(vm)
                self._check_lock(vm)
                if size // 3 > self.room(sid, node)[2]:
                    raise TaskError('job errors')
                self._qm_lock(vm, 'backup')
                try:
                    yield f'INFO: Starting Backup of VM {vm.vmid} (qemu)'
                    yield f"INFO: creating vzdump archive '{self._volume_path(sid, name, 'backup')}'"
                    yield from transfer(size, 'INFO: {pct:3.0f}% ({done} of {total})')
                finally:
                    self._qm_lock(vm, None)
                self._volumes(sid)[name] = {
                    'content': 'backup', 'format': 'vma.zst', 'size': size // 3, 'vmid': vm.vmid, 'ctime': int(time.time()),
                    'node': None if self.storages[sid].get('shared') else node, 'saved': copy.deepcopy(vm.config),
                    'notes': v.get('notes-template', vm.name).replace('{{guestname}}', vm.name)}
                yield f'INFO: archive file size: {human(size // 3)}'
                yield f'INFO: Finished Backup of VM {vm.vmid}'
            yield 'INFO: Backup job finished successfully'

        async def body() -> None:
            return None
        return await self.task(node, 'vzdump', vms[0].vmid if len(vms) == 1 else '', user, body, log=steps())

    async def _qm_create(self, v: Dict, user: str) -> str:
        if not v.get('archive'):
            return await super()._qm_create(v, user)
        vmid, node, old = int(v['vmid']), v['node'], self.vm(int(v['vmid']))
        saved = (self._qm_volume(v['archive']) or {}).get('saved')
        emsg = f'unable to restore VM {vmid} -'
        if saved is None:
            raise die(f"{emsg} volume '{v['archive']}' does not exist")
        if old and (not v.get('force') or old.status == 'running'):
            raise die(f"{emsg} vm is running" if v.get('force') else f"{emsg} VM {vmid} already exists on node '{old.node}'")
        self._check_access(user, volume_ref(v['archive'])[0], 'backup', vmid, v['archive'])
        if old:
            self.discard(old)
        vm = self.add_vm(vmid, v.get('name') or saved.get('name', f'VM {vmid}'), node=node, config=copy.deepcopy(saved))
        vm.config.pop('template', None)
        vm.config.pop('parent', None)
        drives = {key: vm.config.pop(key) for key, _vol, _props in drives_of(vm.config)}
        self._qm_lock(vm, 'create')

        async def body() -> None:
            for key, value in drives.items():
                vm.config[key] = value
                self.relocate(vm, key, v.get('storage') or volume_ref(split_drive(value)[0])[0])
            for key in [k for k in vm.config if re.fullmatch(r'net\d+', k)]:
                vm.config[key] = with_mac(vm.config[key], fresh=bool(v.get('unique')))
            self._qm_lock(vm, None)
            if v.get('pool'):
                self._pool_join(v['pool'], vmid)
            if v.get('start'):
                vm.status = vm.qmpstatus = 'running'
                vm.started_at = time.time()
        size = sum(parse_size(split_drive(x)[1].get('size', '0')) or 0 for x in drives.values())
        return await self.task(node, 'qmrestore', vmid, user, body, vm=vm, log=[
            f"restore vma archive: {v['archive']}", *transfer(size, 'progress {pct:.0f}% (read {done} of {total})')])

    async def _ha(self, v: Dict, user: str) -> list[Dict]:
        if 'sid' in v:  # no guest of the demo cluster is HA-managed
            raise die(f"no such resource '{v['sid']}'")
        return []

    # ------------------------------------------------------------------ guests, nodes, consoles
    async def _agent_call(self, match: Any, values: Dict) -> Any:
        """The guest agent: BOOT_SECS after the start, with the addresses of the cloud-init config."""
        vm = self.find(values['node'], values['vmid'])
        if str(vm.config.get('agent', '0')).split(',')[0].split('=')[-1] != '1':
            raise die('No QEMU guest agent configured')
        up = vm.status == 'running' and time.time() - (vm.started_at or 0) >= BOOT_SECS * self.time_scale
        vm.agent = {'interfaces': self.interfaces(vm)} if up else None
        return await super()._agent_call(match, values)

    def interfaces(self, vm: FakeVm) -> list[Dict]:
        """Network interfaces as the guest agent lists them: static addresses, or a made-up DHCP lease."""
        out = [{'name': 'lo', 'hardware-address': '00:00:00:00:00:00', 'ip-addresses': [
            {'ip-address': '127.0.0.1', 'ip-address-type': 'ipv4', 'prefix': 8}]}]
        for n in range(32):
            mac = re.search(r'=((?:[0-9A-F]{2}:){5}[0-9A-F]{2})', str(vm.config.get(f'net{n}', '')), re.I)
            if not mac:
                continue
            found = re.findall(r'ip6?=([0-9a-fA-F.:]+/\d+)', str(vm.config.get(f'ipconfig{n}', '')))
            cidrs = found or [f'172.{16 + n}.{vm.vmid >> 8 & 255}.{vm.vmid & 255}/16']
            out.append({'name': f'eth{n}', 'hardware-address': mac[1].lower(), 'ip-addresses': [
                {'ip-address': str(i.ip), 'ip-address-type': f'ipv{i.version}', 'prefix': i.network.prefixlen}
                for i in map(ipaddress.ip_interface, cidrs)]})
        return out

    async def _rrd(self, v: Dict, user: str) -> list[Dict]:
        """Seventy points of a VM's or a node's figures up to now."""
        step = {'hour': 60, 'day': 1800, 'week': 10800, 'month': 43200, 'year': 604800}[v.get('timeframe', 'hour')]
        vm = self.find(v['node'], v['vmid']) if 'vmid' in v else None
        now, seed = int(time.time()) // step * step, vm.vmid if vm else len(v['node'])
        base = self._vm_usage(vm) if vm else self.node_stats(v['node'])
        top, out = base.get('maxmem', 0), []
        for at in range(now - 69 * step, now + step, step):
            a, b = wave(seed, 600, at), wave(seed + 7, 3600, at)
            figures = {'cpu': 0.01 + 0.6 * a ** 3, 'maxcpu': base.get('maxcpu'), 'netin': 20000 * a, 'netout': 12000 * a}
            figures |= {'mem': top * (0.25 + 0.4 * b), 'maxmem': top, 'diskread': 4000 * b, 'diskwrite': 9000 * a,
                        'maxdisk': base.get('maxdisk')} if vm else \
                {'memused': top * (0.25 + 0.4 * b), 'memtotal': top, 'loadavg': 8 * a, 'iowait': 0.01 * b}
            out.append({'time': at, **(figures if not vm or (vm.status == 'running' and at >= (vm.started_at or at)) else {})})
        return out

    async def _node_status(self, v: Dict, user: str) -> Dict:
        use, name = self.node_stats(v['node']), v['node']
        load = use['cpu'] * use['maxcpu']
        return self._complete('/nodes/{node}/status', {
            'cpu': use['cpu'], 'uptime': use['uptime'], 'loadavg': [f'{load * f:.2f}' for f in (1, 0.9, 0.8)],
            'memory': {'total': use['maxmem'], 'used': use['mem'], 'free': use['maxmem'] - use['mem']},
            'rootfs': {'total': use['maxdisk'], 'used': use['disk'], 'free': use['maxdisk'] - use['disk'],
                       'avail': use['maxdisk'] - use['disk']},
            'cpuinfo': {'cpus': use['maxcpu'], 'cores': use['maxcpu'] // 2, 'sockets': 1, 'model': 'Demo CPU', 'mhz': '2400'},
            'pveversion': f'pve-manager/{self.version}/demo'}, node=name)

    async def _networks(self, v: Dict, user: str) -> list[Dict]:
        kinds = {'any_bridge': ('bridge', 'OVSBridge'), 'any_local_bridge': ('bridge', 'OVSBridge')}
        n = sorted(self.nodes).index(v['node']) + 11
        out = [{'active': 1, 'autostart': 1, 'method': 'manual', 'method6': 'manual', 'families': ['inet'], 'priority': i,
                **net, **({'cidr': net['cidr'].format(n=n)} if 'cidr' in net else {})}
               for i, net in enumerate(self.spec['networks'], 3)]
        return [net for net in out if v.get('type') is None or net['type'] in kinds.get(v['type'], (v['type'],))]

    async def _vncproxy(self, request: web.Request) -> web.Response:
        return await self.console(request, 'vncproxy', super()._vncproxy)

    async def _termproxy(self, request: web.Request) -> web.Response:
        return await self.console(request, 'termproxy', super()._termproxy)

    async def console(self, request: web.Request, kind: str, make: Callable[..., Awaitable[web.Response]]) -> web.Response:
        """A console ticket with a well-formed UPID (fakepve's has five fields; clients that parse it fail)."""
        data = json.loads((await make(request)).text or '')['data']
        node, vmid = request.match_info['node'], request.match_info['vmid']
        return ok({**data, 'upid': self._upid(node, kind, vmid, data['user'])[0]})

    def _register_stateful(self, router: web.UrlDispatcher, prefixes: tuple[str, ...]) -> None:
        """Every route also with a trailing slash, as PVE takes it (the Terraform provider deletes VMs that way)."""
        super()._register_stateful(router, prefixes)
        for route in [r for r in router.routes() if r.method != 'HEAD']:
            if route.resource:
                router.add_route(route.method, route.resource.canonical + '/', route.handler)

    def _routes_sim(self) -> list[tuple[str, str, Callable[..., Awaitable[Any]]]]:
        node, vm = '/nodes/{node}', '/nodes/{node}/qemu/{vmid}'
        return [('PUT', vm + '/resize', self._resize), ('POST', vm + '/move_disk', self._move_disk),
                ('GET', vm + '/migrate', self._migrate_check), ('POST', vm + '/migrate', self._migrate),
                ('GET', vm + '/rrddata', self._rrd), ('GET', node + '/rrddata', self._rrd),
                ('POST', node + '/vzdump', self._vzdump), ('GET', node + '/status', self._node_status),
                ('GET', node + '/network', self._networks), ('DELETE', node + '/tasks/{upid}', self._task_stop),
                ('GET', '/cluster/tasks', self._cluster_tasks), ('GET', '/cluster/ha/resources', self._ha),
                ('GET', '/cluster/ha/resources/{sid}', self._ha)]

    # ------------------------------------------------------------------ control port
    def control(self, op: str, a: Dict) -> Any:
        """Faults and views for tests: POST /<op> with a JSON object."""
        vm = self.vm(a.get('vmid', 0))
        if op == 'fail':
            return self.fail(a['method'], a['suffix'], a.get('status', 500), a.get('message', 'injected'), times=a.get('times'))
        if op == 'time':
            self.time_scale = float(a.get('scale', self.time_scale))
        elif op == 'clone_limit':
            self.clone_limit = int(a['limit'])
        elif op == 'node':
            self.set_node_offline(a['node'], not a['online'])
        elif op == 'quorum':
            self.quorate = bool(a['quorate'])
        elif op == 'network':
            self.network.update(a)
        elif op == 'fill':
            self.storages[a['storage']]['fill'] = a['gib'] * GIB
        elif op == 'lock':  # a config lock such as "backup", or the lock file (null: free both)
            self._qm_lock(vm, a.get('lock'))
            vm.lock_holder = 'scenario' if a.get('file') else None
        elif op == 'rename':
            vm.name = vm.config['name'] = a['name']
        elif op == 'delete':
            self.discard(vm)
        elif op == 'vms':
            return [{'vmid': g.vmid, **{k: getattr(g, k) for k in KEPT}} for g in self.vms]
        elif op == 'requests':
            return [(m, p, b.decode(errors='replace')) for m, p, b in self.requests]
        elif op == 'reset':
            self.failures.clear()
            self.quorate, self.clone_limit = True, 0
            for store in self.storages.values():
                store['fill'] = 0
        else:
            raise web.HTTPNotFound()
        self.dirty = True
        return None

    async def serve(self, control_port: int | None) -> None:
        """Run until SIGTERM or SIGINT; state is written a second after a change and at the end."""
        cert, key = self.folder / 'fakepve.crt', self.folder / 'fakepve.key'
        if not cert.exists() or time.time() - cert.stat().st_mtime > 20 * 86400:  # made for 30 days
            make_cert(str(self.folder), hosts=(self.host,))
        await self.start(str(cert), str(key))
        app = web.Application()

        async def handle(request: web.Request) -> web.Response:
            return web.json_response(self.control(request.match_info['op'], await request.json() if request.body_exists else {}))
        app.router.add_post('/{op}', handle)
        runner = web.AppRunner(app)
        await runner.setup()
        if control_port is not None:
            await web.TCPSite(runner, '127.0.0.1', control_port).start()
        info = {'url': self.url, 'ca': str(cert), 'user': 'root@pam', 'password': self.password, 'token_id': self.token_id,
                'token_secret': self.apitokens[self.token_id],
                'control': f'http://127.0.0.1:{runner.addresses[0][1]}' if runner.addresses else None}
        write_private(self.keys_file, info)
        with os.fdopen(os.open(self.folder / 'token', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w') as out:
            out.write(info['token_secret'])
        stop = asyncio.Event()
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, stop.set)
        print('ready', self.url, flush=True)
        while not stop.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
            if self.dirty:
                self.save()
        self.save()
        await runner.cleanup()
        await self.stop()


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--dir', type=Path, required=True, help='certificate, connection.json and state.json go here')
    p.add_argument('--spec', type=Path, help='the cluster as JSON (default: a demo cluster of three nodes)')
    p.add_argument('--host', default='127.0.0.1')
    p.add_argument('--port', type=int, default=8006)
    p.add_argument('--control-port', type=int, help='loopback port for faults (default: none)')
    p.add_argument('--time-scale', type=float, default=1.0)
    p.add_argument('--clone-seconds', type=float)
    p.add_argument('--clone-limit', type=int, default=0, help='clones of one template at a time (0: no limit)')
    p.add_argument('--guests', type=int, default=0, help='synthetic guests to add')
    args = p.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    sim = Simulator(json.loads(args.spec.read_text()) if args.spec else copy.deepcopy(DEMO), args.dir, args.host, args.port)
    sim.time_scale, sim.clone_limit = args.time_scale, args.clone_limit
    if args.guests and sim.vm(10000) is None:
        sim.populate(args.guests)
    asyncio.run(sim.serve(args.control_port))


if __name__ == '__main__':
    main()
