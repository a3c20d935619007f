"""Texts of clusters, networks, templates, placement and actions."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

MESSAGES: dict[str, LazyString] = {
    # reaching a cluster
    "online": _l("Connected."),
    "unknown": _l("Not asked yet."),
    "connection_ok": _l("Connected to Proxmox VE %(release)s with %(nodes)s nodes; every privilege needed is there."),
    "proxmox_error": _l("Proxmox could not be asked."),
    "proxmox_unreachable": _l("The cluster at %(endpoint)s does not answer."),
    "proxmox_unreachable_refused": _l("%(endpoint)s refuses the connection: nothing listens on this port."),
    "proxmox_unreachable_unknown_host": _l("The host name in %(endpoint)s is not known."),
    "proxmox_unreachable_timeout": _l("%(endpoint)s did not answer in time."),
    "proxmox_unreachable_no_route": _l("There is no route to %(endpoint)s."),
    "proxmox_unreachable_not_tls": _l("What answers at %(endpoint)s does not speak TLS."),
    "proxmox_unreachable_gateway": _l(
        "A proxy before %(endpoint)s answers in its place: the cluster behind it does not."
    ),
    "proxmox_not_proxmox": _l("A web server answers at %(endpoint)s, but it is not the Proxmox API."),
    "proxmox_node_offline": _l("The node does not answer; the rest of the cluster does."),
    "proxmox_certificate": _l("The certificate of %(endpoint)s is not accepted: %(reason)s."),
    "proxmox_certificate_expired": _l("The certificate of %(endpoint)s has expired."),
    "proxmox_certificate_not_yet_valid": _l("The certificate of %(endpoint)s is not valid yet: a clock is wrong."),
    "proxmox_certificate_wrong_host": _l("The certificate does not name the host in %(endpoint)s."),
    "proxmox_certificate_unknown_issuer": _l(
        "The certificate of %(endpoint)s is signed by an authority that is not trusted here."
    ),
    "proxmox_certificate_fingerprint": _l(
        "%(endpoint)s shows a certificate with another fingerprint than the one pinned."
    ),
    "proxmox_unauthorized": _l(
        "Proxmox refuses the API token %(auth_id)s: unknown, expired or the wrong secret (401)."
    ),
    "proxmox_unauthorized_password": _l("Proxmox refuses %(auth_id)s: the user or the password is wrong (401)."),
    "proxmox_unauthorized_second_factor": _l("%(auth_id)s needs a second factor, which a program cannot give."),
    "proxmox_forbidden": _l("The account lacks the privilege %(privilege)s on %(path)s."),
    "proxmox_missing_privileges": _l("The account %(auth_id)s lacks: %(privileges)s."),
    "proxmox_not_found": _l("Proxmox does not know it: %(reason)s."),
    "proxmox_refused": _l("Proxmox refused: %(reason)s."),
    # clusters
    "cluster_in_use": _l("%(count)s servers are on %(cluster)s."),
    "cluster_unknown": _l("There is no cluster “%(cluster)s”."),
    "endpoint_malformed": _l("An address like https://pve.example.org:8006."),
    "endpoint_not_https": _l("Proxmox is reached by https:// only."),
    "auth_id_malformed": _l("A token id like user@realm!name, or a user like root@pam."),
    "bad_ca": _l("This is not a certificate in PEM form (-----BEGIN CERTIFICATE-----)."),
    "bad_fingerprint": _l("A SHA-256 fingerprint has 64 hexadecimal digits."),
    "secret_of_other_account": _l("The account changed: enter the secret of %(auth_id)s."),
    "secret_for_other_endpoint": _l(
        "The address changed: enter the secret again, the stored one is not sent to another host."
    ),
    "range_reversed": _l("%(high)s comes before %(low)s."),
    "vmid_range_cuts": _l("VMID %(vmid)s is given out already and must stay inside the range."),
    # networks
    "name_characters": _l("Without < > \" ' ` $ / \\ { }."),
    "cidr_malformed": _l("A network like 10.0.0.0/24."),
    "cidr_host_bits": _l("This is an address inside a network; the network is %(meant)s."),
    "cidr_prefix": _l("The prefix must lie between /%(low)s and /%(high)s."),
    "ip_outside_network": _l("%(ip)s is not in %(cidr)s."),
    "ip_outside_range": _l("%(ip)s is outside the range that this network hands out."),
    "ip_not_a_host": _l("%(ip)s is the network's own or its broadcast address."),
    "ip_is_gateway": _l("%(ip)s is a gateway."),
    "ip_taken_by_guest": _l("A guest that is not managed here has %(ip)s."),
    "bridge_unknown": _l("The cluster has no bridge “%(bridge)s”; it has %(known)s."),
    "bad_domain": _l("“%(domain)s” is not a domain name."),
    "network_in_use": _l("%(count)s servers use %(network)s."),
    "network_field_in_use": _l("%(count)s servers use this network: it cannot change."),
    # templates
    "template_name_taken": _l("Another template with the name “%(name)s” (VMID %(vmid)s) is offered."),
    # placement
    "template_node_offline": _l("The template is on %(node)s, which is offline."),
    "template_on_other_node": _l(
        "The template lies on a local storage of %(template_node)s and cannot be cloned to %(node)s."
    ),
    "node_unknown": _l("There is no node “%(node)s”."),
    "node_offline": _l("%(node)s is offline."),
    "bridge_not_on_node": _l("%(node)s has no bridge %(bridge)s."),
    "node_too_small_cores": _l("%(node)s has %(cores)s cores."),
    "node_too_small_memory": _l("%(node)s has %(memory_mib)s MiB of memory in all."),
    "node_memory_full": _l("%(node)s has %(free_mib)s MiB of memory left."),
    "storage_unknown": _l("%(node)s has no storage “%(storage)s”."),
    "storage_inactive": _l("The storage %(storage)s is not active on %(node)s."),
    "storage_not_images": _l("The storage %(storage)s does not take VM disks."),
    "storage_not_shared": _l("The storage %(storage)s is %(node)s's own; the template is on %(template_node)s and can be cloned to shared storage only."),
    "no_images_storage": _l("%(node)s has no storage that takes VM disks."),
    "storage_full": _l("%(storage)s has %(free_gib)s GiB left."),
    # actions
    "server_unknown": _l("There is no server “%(server)s”."),
    "server_forbidden": _l("“%(server)s” belongs to somebody else; your role lacks “%(permission)s”."),
    "server_not_made": _l("%(server)s has no finished VM (%(status)s)."),
    "server_not_running": _l("The server is not running (%(status)s)."),
    "vm_missing": _l("Proxmox has no VM %(vmid)s any more."),
    "not_ours": _l(
        "VM %(vmid)s (%(name)s) does not carry this server's mark: somebody else's VM has its number. Nothing was sent."
    ),
    "action_task_failed": _l("Proxmox's task failed: %(reason)s."),
    "shutdown_timeout": _l("The guest did not shut down in time."),
    "outcome_unknown": _l(
        "It is not known whether Proxmox carried out the %(action)s; it shows “%(status)s”. It was not sent again."
    ),
    "action_succeeded": _l("%(servers)s: %(action)s done."),
    "action_failed": _l("%(servers)s: %(action)s failed."),
    "actions_succeeded": _l("%(action)s done on %(done)s servers."),
    "actions_partly_failed": _l("%(action)s done on %(done)s servers, failed on %(failed)s."),
    "actions_failed": _l("%(action)s failed on %(failed)s."),
    # work on many servers
    "bulk_deleting": _l("It is being deleted."),
    "bulk_not_made": _l("Its VM is not there yet, or being removed."),
    "bulk_busy": _l("Something is being done to it now."),
    "bulk_runs_already": _l("It runs already."),
    "bulk_not_running": _l("It is not running."),
    "bulk_no_tags": _l("Give at least one tag to add or to remove."),
    # disks and networks of a server that is there
    "devices_change_waits": _l("Another change of its disks or networks waits. Let it end first."),
    "disk_unknown": _l("It has no disk “%(disk)s”."),
    "disk_boot": _l("It starts from %(disk)s: that disk goes only with the server."),
    "nic_unknown": _l("It has no network “%(nic)s”."),
    "nic_not_last": _l("Only the last network can be removed: those behind %(nic)s would change places."),
    "nic_first": _l("A server keeps its first network."),
    # snapshots
    "cluster_away": _l("The cluster “%(cluster)s” does not answer now, and only it knows this."),
    "snapshot_name_empty": _l("A snapshot needs a name."),
    "snapshot_name_length": _l("A snapshot's name has 2 to %(limit)s characters."),
    "snapshot_name_bad": _l("“%(name)s” is not a name for a snapshot: letters, digits, - and _, and a letter first."),
    "snapshot_name_reserved": _l("Proxmox keeps the name “%(name)s” for itself."),
    "snapshot_exists": _l("There is a snapshot “%(snapshot)s” already."),
    "snapshot_missing": _l("There is no snapshot “%(snapshot)s” any more."),
    "snapshot_memory_stopped": _l("The server is not running: there is no memory to keep."),
    "snapshot_incomplete": _l("The snapshot “%(snapshot)s” was never finished: one cannot go back to it."),
    "snapshot_unsupported": _l("A storage of this server cannot make snapshots."),
    "snapshot_not_newest": _l("The storage goes back to its newest snapshot only: %(reason)s."),
    "snapshot_create_succeeded": _l("%(servers)s: the snapshot %(snapshot)s is made."),
    "snapshot_create_failed": _l("%(servers)s: the snapshot %(snapshot)s was not made."),
    "snapshot_rollback_succeeded": _l("%(servers)s is as it was at the snapshot %(snapshot)s."),
    "snapshot_rollback_failed": _l("%(servers)s: going back to the snapshot %(snapshot)s failed."),
    "snapshot_delete_succeeded": _l("%(servers)s: the snapshot %(snapshot)s is deleted."),
    "snapshot_delete_failed": _l("%(servers)s: the snapshot %(snapshot)s was not deleted."),
}

HINTS: dict[str, LazyString] = {
    "proxmox_unreachable": _l("Check address and port (8006 is usual), firewall, and that pveproxy runs."),
    "proxmox_unreachable_refused": _l("Check the port (8006 is usual) and that pveproxy runs on the host."),
    "proxmox_unreachable_unknown_host": _l("Check the spelling, or use the IP address."),
    "proxmox_unreachable_timeout": _l("Check the address and the firewall between here and the cluster."),
    "proxmox_unreachable_no_route": _l("Check the address and the network of this machine."),
    "proxmox_unreachable_not_tls": _l("Check the port: Proxmox listens on 8006."),
    "proxmox_unreachable_gateway": _l("Check the proxy, or give the node's own address and port 8006."),
    "proxmox_not_proxmox": _l("Check host and port: Proxmox listens on 8006."),
    "proxmox_node_offline": _l("Check the node's power and network; it is asked again every ten seconds."),
    "proxmox_certificate": _l(
        "Give the CA of the cluster (/etc/pve/pve-root-ca.pem), or pin the certificate's fingerprint."
    ),
    "proxmox_certificate_expired": _l("Renew it on the node: pvecm updatecerts --force, then restart pveproxy."),
    "proxmox_certificate_wrong_host": _l("Use a host name that the certificate names, or pin its fingerprint."),
    "proxmox_certificate_unknown_issuer": _l(
        "Paste the CA of the cluster (/etc/pve/pve-root-ca.pem), or pin the certificate's fingerprint."
    ),
    "proxmox_certificate_fingerprint": _l(
        "Compare with Node › System › Certificates in Proxmox. If nobody renewed it, somebody may stand in between."
    ),
    "proxmox_unauthorized": _l(
        "Make a new token in Datacenter › Permissions › API Tokens and enter its id and secret."
    ),
    "proxmox_unauthorized_password": _l("Check realm and password, or use an API token."),
    "proxmox_unauthorized_second_factor": _l("Use an API token: Datacenter › Permissions › API Tokens."),
    "proxmox_forbidden": _l(
        "Give the account's role %(privilege)s on %(path)s in Datacenter › Permissions; a token with privilege separation needs its own."
    ),
    "proxmox_missing_privileges": _l(
        "Add them to the account's role in Datacenter › Permissions; a token with privilege separation needs its own."
    ),
    "proxmox_not_found": _l("It was probably removed or moved in Proxmox; the lists here follow within ten seconds."),
    "cluster_in_use": _l("Delete these servers first."),
    "network_in_use": _l("Delete these servers first, or make another network the default."),
    "template_name_taken": _l("Hide that one first, or rename one of them in Proxmox."),
    "template_node_offline": _l("Wait for the node, or choose a template on another one."),
    "template_on_other_node": _l("Leave the node to us, or move the template to a shared storage."),
    "node_offline": _l("Choose another node, or leave it to us."),
    "node_memory_full": _l("Ask for less memory, or choose another node."),
    "storage_full": _l("Choose another storage, or free space on this one."),
    "no_images_storage": _l("Allow “Disk image” on a storage of the node in Datacenter › Storage."),
    "vm_missing": _l("It was removed in Proxmox. Delete the server here, or restore the VM under the same number."),
    "not_ours": _l("Look at the VM in Proxmox. If the server is gone, delete it here."),
    "action_task_failed": _l("Proxmox's task log, below, says more."),
    "shutdown_timeout": _l("Stop it, which is like pulling the plug, or look at its console."),
    "outcome_unknown": _l("Look at the server, then ask again if needed."),
    "server_not_made": _l("Wait for its run, or look at why that failed."),
    "server_not_running": _l("Start it instead."),
    "cluster_away": _l("Try again in a moment; its state is shown under Nodes."),
    "snapshot_exists": _l("Choose another name, or delete that one first."),
    "snapshot_memory_stopped": _l("Leave the memory out, or start the server first."),
    "snapshot_incomplete": _l("Delete it, and make another one."),
    "snapshot_unsupported": _l("Move the disk in Proxmox to a storage that can, as ZFS, Ceph, LVM-thin or qcow2 files."),
    "snapshot_not_newest": _l("Delete the newer snapshots first."),
}
