terraform {
  required_version = ">= 1.5.7"
  required_providers {
    proxmox = { source = "bpg/proxmox", version = "0.111.1" }
  }
  backend "http" {}
}

variable "endpoint" {
  type = string
}
variable "insecure" {
  type    = bool
  default = false
}
variable "defaults" {
  description = "Placement of the template to clone from."
  type = object({
    template_vmid = number
    template_node = string
    dns_domain    = optional(string)
    dns_servers   = optional(list(string), [])
  })
}
variable "servers" {
  type = map(object({
    name          = string # hostname; the key of the map is the immutable slug
    vmid          = number
    marker        = string # ownership marker, first line of the description; reserved by the caller
    node          = string
    note          = optional(string, "")
    tags          = optional(list(string), [])
    started       = optional(bool, true)
    on_boot       = optional(bool, true)
    allow_reboot  = optional(bool, true) # false: changes that need a restart only warn
    cores         = optional(number, 1)
    cpu_type      = optional(string, "x86-64-v2-AES")
    memory_mib    = optional(number, 1024)
    full_clone    = optional(bool, true)
    agent         = optional(bool, false)
    username      = optional(string, "ubuntu")
    ssh_keys      = optional(list(string), [])
    protection    = optional(bool, false)
    ci_datastore  = optional(string)
    clone_timeout = optional(number, 1800)
    disks = list(object({
      interface = string
      datastore = string
      size_gib  = number
      discard   = optional(bool, false)
      iothread  = optional(bool, false)
      ssd       = optional(bool, false)
    }))
    nics = list(object({
      bridge   = string
      vlan     = optional(number)
      address  = string # CIDR or "dhcp"
      gateway  = optional(string)
      firewall = optional(bool, false)
    }))
  }))
}

provider "proxmox" {
  endpoint = var.endpoint # the token comes from PROXMOX_VE_API_TOKEN, never from a file
  insecure = var.insecure
}

resource "proxmox_virtual_environment_vm" "server" {
  for_each = var.servers

  name                = each.value.name
  vm_id               = each.value.vmid
  node_name           = each.value.node
  migrate             = true
  description         = each.value.note == "" ? each.value.marker : "${each.value.marker}\n${each.value.note}"
  tags                = sort(each.value.tags)
  started             = each.value.started
  on_boot             = each.value.on_boot
  reboot_after_update = each.value.allow_reboot
  protection          = each.value.protection
  scsi_hardware       = "virtio-scsi-single"

  stop_on_destroy                      = true
  purge_on_destroy                     = true
  delete_unreferenced_disks_on_destroy = false
  timeout_clone                        = each.value.clone_timeout
  timeout_shutdown_vm                  = 120
  timeout_stop_vm                      = 120
  timeout_start_vm                     = 300

  clone {
    vm_id        = var.defaults.template_vmid
    node_name    = var.defaults.template_node
    full         = each.value.full_clone
    datastore_id = each.value.full_clone ? each.value.disks[0].datastore : null
    retries      = 1 # more than 1 makes the provider take over a foreign VM with the same VMID
  }

  cpu {
    cores = each.value.cores
    type  = each.value.cpu_type
  }
  memory {
    dedicated = each.value.memory_mib
  }
  agent {
    enabled = each.value.agent
  }
  operating_system {
    type = "l26"
  }
  serial_device {}

  dynamic "disk" {
    for_each = each.value.disks
    content {
      interface    = disk.value.interface
      datastore_id = disk.value.datastore
      size         = disk.value.size_gib
      discard      = disk.value.discard ? "on" : "ignore"
      iothread     = disk.value.iothread
      ssd          = disk.value.ssd
    }
  }

  dynamic "network_device" {
    for_each = each.value.nics
    content {
      bridge   = network_device.value.bridge
      vlan_id  = network_device.value.vlan
      firewall = network_device.value.firewall
    }
  }

  initialization {
    datastore_id = coalesce(each.value.ci_datastore, each.value.disks[0].datastore)
    dynamic "dns" {
      for_each = var.defaults.dns_domain != null || length(var.defaults.dns_servers) > 0 ? [1] : []
      content {
        domain  = var.defaults.dns_domain
        servers = var.defaults.dns_servers
      }
    }
    dynamic "ip_config" {
      for_each = each.value.nics
      content {
        ipv4 {
          address = ip_config.value.address
          gateway = ip_config.value.address == "dhcp" ? null : ip_config.value.gateway
        }
      }
    }
    user_account {
      username = each.value.username
      keys     = each.value.ssh_keys
    }
  }

  lifecycle {
    # Both matter to a new server only: a higher limit must not show up as a change of every other one.
    ignore_changes = [clone, timeout_clone]
  }
}

output "servers" {
  value = {
    for k, v in proxmox_virtual_environment_vm.server : k => {
      vmid = v.vm_id
      node = v.node_name
      mac  = v.mac_addresses
      ipv4 = v.ipv4_addresses
    }
  }
}
