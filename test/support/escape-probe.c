/*
 * Tries, inside a container, what would lead out of it or change the kernel for all; prints `name=errno`
 * of each, 0 for what was let. Static, so that any root can run it. Knows nothing of what is expected.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static void tell(const char *name, long result) {
  printf("%s=%s\n", name, result < 0 ? strerrorname_np(errno) : "0");
  fflush(stdout);
}

/* clone(2) as it is, without a stack of its own: a copy of this process. */
static long clone_with(unsigned long flags) {
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static long clone3_with(uint64_t flags) {
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } args = {.flags = flags, .exit_signal = SIGCHLD};
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid((pid_t)pid, NULL, 0);
  return pid;
}

static void namespaces(void) {
  static const struct {
    const char *name;
    unsigned long flag;
  } kinds[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS},     {"pid", CLONE_NEWPID},
               {"net", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},      {"uts", CLONE_NEWUTS},
               {"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP}};
  char name[32];
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    snprintf(name, sizeof name, "clone %s", kinds[i].name);
    if (kinds[i].flag != CLONE_NEWTIME) /* the low bits of clone are the signal's */
      tell(name, clone_with(kinds[i].flag));
    snprintf(name, sizeof name, "clone3 %s", kinds[i].name);
    tell(name, clone3_with(kinds[i].flag));
    snprintf(name, sizeof name, "unshare %s", kinds[i].name);
    tell(name, unshare((int)kinds[i].flag));
  }
  int own = open("/proc/self/ns/net", O_RDONLY);
  tell("setns net", setns(own, CLONE_NEWNET));
}

static void mounts(void) {
  mkdir("/tmp/m", 0700);
  tell("mount tmpfs", mount("x", "/tmp/m", "tmpfs", 0, NULL));
  tell("mount proc", mount("x", "/tmp/m", "proc", 0, NULL));
  tell("remount /proc/sys", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
  tell("umount /proc/keys", umount2("/proc/keys", MNT_DETACH));
  tell("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp/m"));
  tell("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
  tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
}

/* A file handle made by hand names an inode of the host's file system, whatever is mounted here. */
static void handles(void) {
  struct {
    struct file_handle head;
    unsigned char bytes[8];
  } handle = {.head = {.handle_bytes = 8, .handle_type = 1}, .bytes = {2}};
  int at = open("/etc/hostname", O_RDONLY);
  if (at < 0) at = open("/", O_RDONLY);
  tell("open_by_handle_at", syscall(SYS_open_by_handle_at, at, &handle, O_RDONLY));
}

static void kernel(void) {
  struct timeval now = {.tv_sec = 1};
  tell("settimeofday", settimeofday(&now, NULL));
  tell("init_module", syscall(SYS_init_module, "", 0, ""));
  tell("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
  tell("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0 /* no such command */, NULL));
  tell("bpf", syscall(SYS_bpf, 0, NULL, 0));
  tell("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
  tell("userfaultfd", syscall(SYS_userfaultfd, 0));
  tell("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
  tell("add_key", syscall(SYS_add_key, "user", "k", "v", 1, KEY_SPEC_PROCESS_KEYRING));
  tell("swapon", swapon("/tmp/none", 0));
  tell("acct", syscall(SYS_acct, "/tmp/none"));
  tell("iopl", syscall(SYS_iopl, 3));
  tell("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
}

static void devices(void) {
  mknod("/tmp/disk", S_IFBLK | 0600, (8 << 8)); /* sda, or whatever it is: no rule lets it be opened */
  tell("open disk", open("/tmp/disk", O_RDONLY));
  mknod("/tmp/mem", S_IFCHR | 0600, (1 << 8) | 1);
  tell("open mem", open("/tmp/mem", O_RDWR));
}

int main(void) {
  mounts();
  handles();
  devices();
  kernel();
  namespaces(); /* a user namespace that is let would give rights in it for what follows */
  return 0;
}
