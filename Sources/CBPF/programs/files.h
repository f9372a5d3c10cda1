// files.h - numfile: open files (struct file), those of pipes, sockets and the like included. Hard at the barrier: ENFILE.
//
// Who is charged is who opened: f_cred stays with the file to its end, wherever it is passed on to, so that no table is needed.
#ifndef VZ_FILES_H
#define VZ_FILES_H

SEC("fmod_ret/security_file_alloc")
int BPF_PROG(file_alloc_security, struct file *file)
{
    struct vz_slot *slot = charged(file->f_cred->user_ns);
    if (!slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMFILE];
    if (charge(counter, 1, counter->barrier)) {
        if (!kernel_memory_is_short(slot))
            return 0;
        if (!config.lsm)
            uncharge(counter, 1);
        return -ENOMEM;
    }
    // After a refusal of the LSM the kernel itself frees what the modules have of the file, which uncharges. After one of
    // modify-return it does not, since the function as a whole was skipped.
    if (!config.lsm)
        uncharge(counter, 1);
    return -ENFILE;
}

SEC("fentry/security_file_free")
int BPF_PROG(file_free_security, struct file *file)
{
    struct vz_slot *slot = charged(file->f_cred->user_ns);
    if (slot)
        uncharge(&slot->counters[VZ_NUMFILE], 1);
    return 0;
}

#endif
