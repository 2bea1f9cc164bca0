/*
 * Starts skep-shim from a process with a large heap: posix_spawn costs the same at any size, while
 * fork copies page tables. Knows nothing of what the shim does.
 */
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib_error.h"
#include "skep_spec.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int copy_sealed(int from, int to) {
  struct stat status;
  if (fstat(from, &status) < 0) return -1;
  off_t left = status.st_size;
  while (left > 0) {
    ssize_t n = sendfile(to, from, NULL, (size_t)left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    left -= n;
  }
  return fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

int skep_seal_program(const char *path, struct skep_error *err) {
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return lib_fail(err, errno, "open", path);
  int to = memfd_create("skep-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (to < 0 && errno == EINVAL) to = memfd_create("skep-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  int result = to < 0 ? lib_fail(err, errno, "memfd_create", path) : to;
  if (to >= 0 && copy_sealed(from, to) < 0) {
    result = lib_fail(err, errno, "sendfile", path);
    close(to);
  }
  close(from);
  return result;
}

static int spawn_launcher(int program_fd, int launch_fd, pid_t *pid) {
  /* By our own pid: the child closes its copies before the kernel opens the program. */
  char program[64];
  snprintf(program, sizeof program, "/proc/%d/fd/%d", getpid(), program_fd);
  /* The place of its task directory, which a list of processes then shows. */
  char blank[SKEP_TITLE_BYTES];
  memset(blank, ' ', sizeof blank - 1);
  blank[sizeof blank - 1] = 0;
  char *const args[] = {"skep-shim", blank, NULL}, *const env[] = {NULL};
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  if ((error = posix_spawn_file_actions_adddup2(&actions, launch_fd, SKEP_LAUNCH_FD)) == 0 &&
      (error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)) == 0 &&
      (error = posix_spawn_file_actions_adddup2(&actions, 0, 1)) == 0 &&
      (error = posix_spawn_file_actions_adddup2(&actions, 0, 2)) == 0 &&
      (error = posix_spawn_file_actions_addclosefrom_np(&actions, SKEP_LAUNCH_FD + 1)) == 0)
    error = posix_spawn(pid, program, &actions, NULL, args, env);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int skep_shim_spawn(int program_fd, struct skep_error *err) {
  int ends[2], status;
  pid_t pid;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return lib_fail(err, errno, "socketpair", "skep-shim");
  int error = spawn_launcher(program_fd, ends[1], &pid);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return lib_fail(err, error, "posix_spawn", "skep-shim");
  }
  /* The launcher forks and ends at once; libuv never waits for it. */
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ends[0];
  close(ends[0]);
  return lib_fail(err, EAGAIN, "fork", "skep-shim");
}
