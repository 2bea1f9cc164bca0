/*
 * exec: a helper joins the container's cgroups and namespaces, then clones the command as the
 * shim's own child (CLONE_PARENT), because a joined pid namespace holds for children only.
 */
#include "exec.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "kernel.h"
#include "process.h"
#include "users.h"

#define EXEC_NAMESPACES \
  (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static int join_cgroups(const struct spec *spec, struct skep_error *err) {
  char path[PATH_MAX];
  if (spec->cgroup2[0]) {
    snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup2);
    if (write_file(path, "0") < 0) return fail(err, "write", "%s", path);
  }
  struct reader cursor = spec->cgroup_tasks.cursor;
  for (uint32_t i = 0; i < spec->cgroup_tasks.count; i++) {
    const char *tasks = read_str(&cursor);
    if (write_file(tasks, "0") < 0) return fail(err, "write", "%s", tasks);
  }
  return 0;
}

static _Noreturn void command_main(const struct spec *spec, const struct process *process,
                                   int status_fd) {
  struct skep_error err = {0};
  struct confinement confinement = {.apparmor = spec->apparmor, .reaper_fd = -1};
  setsid();
  if (process->flags & SKEP_PROCESS_TTY) ioctl(0, TIOCSCTTY, 0); /* fresh, so it cannot be taken */
  bool has_input = process->flags & (SKEP_PROCESS_TTY | SKEP_PROCESS_STDIN);
  if (has_input || use_null_input(&err) == 0) run_process(process, &confinement, &err);
  send_status(status_fd, STATUS_ERROR, 0, &err);
  _exit(exec_exit_code(&err));
}

/* Makes a terminal, hands its master to the shim, and takes the other side for all three. */
static int take_terminal(const struct process *process, int stdio[3], int status_fd,
                         struct skep_error *err) {
  int peer = hand_over_terminal(process, status_fd, err);
  if (peer < 0) return -1;
  for (int i = 0; i < 3; i++) stdio[i] = peer;
  return 0;
}

static _Noreturn void helper_main(const struct spec *spec, int pid_fd,
                                  const struct process *process, int stdio[3], int status_fd) {
  struct skep_error err = {0};
  int none = -1, joined = fcntl(pid_fd, F_DUPFD_CLOEXEC, 20);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (join_cgroups(spec, &err) < 0 || apply_oom_score(process, &err) < 0) goto failed;
  /* While we may still raise them. */
  if (maps_users(spec) && apply_rlimits(0, process, &err) < 0) goto failed;
  if (setns(joined, EXEC_NAMESPACES | (maps_users(spec) ? CLONE_NEWUSER : 0)) < 0) {
    fail(&err, "setns", "container");
    goto failed;
  }
  if (maps_users(spec) && users_become_root(&err) < 0) goto failed;
  if ((process->flags & SKEP_PROCESS_TTY) && take_terminal(process, stdio, status_fd, &err) < 0)
    goto failed;
  if (arrange_fds(stdio[0], stdio[1], stdio[2], &status_fd, &none, 0) < 0) {
    fail(&err, "dup3", "exec");
    goto failed;
  }
  long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) command_main(spec, process, status_fd);
  if (pid > 0) {
    send_status(status_fd, STATUS_PID, (int32_t)pid, NULL);
    _exit(0);
  }
  fail(&err, "clone", "exec");
failed:
  send_status(status_fd, STATUS_ERROR, 0, &err);
  _exit(1);
}

static int open_stdio(const struct spec *spec, const struct process *process, struct exec *exec, int child[3],
                      struct skep_error *err) {
  int ends[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
  bool with_input = process->flags & SKEP_PROCESS_STDIN;
  if (process->flags & SKEP_PROCESS_TTY) return 0; /* the helper brings a terminal */
  for (int i = with_input ? 0 : 1; i < 3; i++) {
    if (open_pipe(ends[i]) < 0) return fail(err, "pipe2", "exec");
    child[i] = ends[i][i == 0 ? 0 : 1];
    if (i == 0)
      exec->input_fd = ends[i][1];
    else
      exec->output_fds[i - 1] = ends[i][0];
    set_nonblocking(ends[i][i == 0 ? 1 : 0]);
    uid_t uid = outside_id(&spec->uid_map, process->uid);
    gid_t gid = outside_id(&spec->gid_map, process->gid);
    if (fchown(child[i], uid, gid) < 0) return fail(err, "fchown", "exec pipe");
  }
  if (!with_input) {
    child[0] = RETRY(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (child[0] < 0) return fail(err, "open", "/dev/null");
  }
  return 0;
}

int exec_start(const struct spec *spec, int container_pid_fd, const struct process *process,
               struct exec *exec, struct skep_error *err) {
  int child[3] = {-1, -1, -1}, status[2] = {-1, -1};
  int result = open_stdio(spec, process, exec, child, err);
  /* A socket, because a terminal's master may come over it. */
  if (result == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) < 0)
    result = fail(err, "socketpair", "exec status");
  if (result == 0) {
    exec->status_fd = status[0];
    set_nonblocking(status[0]);
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) helper_main(spec, container_pid_fd, process, child, status[1]);
    if (pid < 0)
      result = fail(err, "clone", "exec helper");
    else
      exec->helper_pid = (int32_t)pid;
  }
  for (int i = 0; i < 3; i++) release_fd(&child[i]);
  release_fd(&status[1]);
  if (result < 0) exec_release(exec);
  return result;
}

void exec_release(struct exec *exec) {
  release_fd(&exec->status_fd);
  release_fd(&exec->input_fd);
  release_fd(&exec->output_fds[0]);
  release_fd(&exec->output_fds[1]);
}
