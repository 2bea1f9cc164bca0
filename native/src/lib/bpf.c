/* The one eBPF program that skep needs: device rules of a cgroup v2 group. Assembled by the caller. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "lib_error.h"

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

int skep_device_program_attach(const char *cgroup_dir, const uint8_t *instructions, uint32_t count,
                               struct skep_error *err) {
  int result = 0;
  union bpf_attr load = {0}, attach = {0};
  int cgroup = open(cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup < 0) return lib_fail(err, errno, "open", cgroup_dir);
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = (uint64_t)(uintptr_t)instructions;
  load.insn_cnt = count;
  load.license = (uint64_t)(uintptr_t) "Apache-2.0";
  int program = bpf(BPF_PROG_LOAD, &load);
  if (program < 0) {
    result = lib_fail(err, errno, "bpf", "load device program");
  } else {
    attach.target_fd = (uint32_t)cgroup;
    attach.attach_bpf_fd = (uint32_t)program;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    if (bpf(BPF_PROG_ATTACH, &attach) < 0) result = lib_fail(err, errno, "bpf", cgroup_dir);
    close(program); /* the group holds it */
  }
  close(cgroup);
  return result;
}
