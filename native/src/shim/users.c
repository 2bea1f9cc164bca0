#include "users.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES_MAX 4000 /* the kernel takes less than a page */

/* The file takes one write. */
static int write_map(const struct list *map, int32_t pid, const char *name, struct skep_error *err) {
  char path[48], text[MAP_BYTES_MAX];
  size_t used = 0;
  struct reader cursor = map->cursor;
  for (uint32_t i = 0; i < map->count; i++) {
    uint32_t inside = read_u32(&cursor), outside = read_u32(&cursor), count = read_u32(&cursor);
    used += (size_t)snprintf(text + used, sizeof text - used, "%u %u %u\n", inside, outside, count);
    if (used >= sizeof text) return fail_with(err, E2BIG, "write", "%s of %u ranges", name, map->count);
  }
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  return write_file(path, text) < 0 ? fail(err, "write", "%s", name) : 0;
}

int users_map(const struct spec *spec, int32_t pid, struct skep_error *err) {
  if (write_map(&spec->uid_map, pid, "uid_map", err) < 0) return -1;
  return write_map(&spec->gid_map, pid, "gid_map", err);
}

int users_make(const struct spec *spec, struct skep_error *err) {
  char path[48];
  pid_t maker = getpid();
  long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return fail(err, "clone", "user namespace");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() == maker)
      for (;;) pause();
    _exit(1);
  }
  int result = users_map(spec, (int32_t)pid, err);
  if (result == 0) {
    snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
    result = RETRY(open(path, O_RDONLY | O_CLOEXEC));
    if (result < 0) fail(err, "open", "user namespace");
  }
  kill((pid_t)pid, SIGKILL);
  RETRY(waitpid((pid_t)pid, NULL, 0));
  return result;
}

int users_become_root(struct skep_error *err) {
  if (syscall(SYS_setgroups, 0L, NULL) < 0) return fail(err, "setgroups", "user namespace");
  if (syscall(SYS_setresgid, 0, 0, 0) < 0) return fail(err, "setresgid", "user namespace");
  if (syscall(SYS_setresuid, 0, 0, 0) < 0) return fail(err, "setresuid", "user namespace");
  return 0;
}
