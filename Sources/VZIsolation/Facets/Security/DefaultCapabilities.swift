internal import VZKernel

/// What root of a container may do, within its own user namespace.
enum DefaultCapabilities {
    /// OpenVZ's default set with SYS_ADMIN and NET_ADMIN, which its stock-kernel mode adds (`openvz.md` 6.4): in a user namespace they
    /// reach nothing but the container's own mounts and network. Left out is what has no meaning there (SYS_MODULE, SYS_RAWIO,
    /// SYS_TIME, SYS_PACCT …) and what OpenVZ never knew (BPF, PERFMON, CHECKPOINT_RESTORE …).
    static let names = [
        "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
        "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_chroot", "sys_ptrace",
        "sys_admin",
        "sys_boot", "sys_nice", "sys_resource", "sys_tty_config", "mknod", "lease", "audit_write", "setfcap",
    ]
}
