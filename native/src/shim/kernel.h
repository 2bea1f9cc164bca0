/* System calls and constants newer than the C library's headers (numbers are equal on all
 * architectures from 424 on). */
#ifndef SKEP_SHIM_KERNEL_H
#define SKEP_SHIM_KERNEL_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_PIDFD_OPEN 434
#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#define SKEP_CLONE_INTO_CGROUP 0x200000000ULL

struct skep_clone_args {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
      set_tid_size, cgroup;
};
_Static_assert(sizeof(struct skep_clone_args) == 88, "CLONE_ARGS_SIZE_VER2");

struct skep_open_how {
  uint64_t flags, mode, resolve;
};
#define SKEP_RESOLVE_NO_MAGICLINKS 0x02
#define SKEP_RESOLVE_NO_SYMLINKS 0x04
#define SKEP_RESOLVE_IN_ROOT 0x10

struct skep_mount_attr {
  uint64_t attr_set, attr_clr, propagation, userns_fd;
};
#define SKEP_ATTR_RDONLY 0x1
#define SKEP_ATTR_NOSUID 0x2
#define SKEP_ATTR_NODEV 0x4
#define SKEP_ATTR_NOEXEC 0x8
#define SKEP_ATTR_IDMAP 0x100000
#define SKEP_AT_RECURSIVE 0x8000
#define SKEP_OPEN_TREE_CLONE 1u
#define SKEP_MOVE_FROM_EMPTY 0x4u
#define SKEP_MOVE_TO_EMPTY 0x40u

#endif
