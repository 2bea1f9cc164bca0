/*
 * The container's init from clone3 to exec. The parent's half attaches cgroups; the child's half
 * joins namespaces, builds the root and waits twice on the go pipe (attached, started).
 */
#include "container.h"

#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "detached.h"
#include "kernel.h"
#include "mounts.h"
#include "process.h"
#include "terminal.h"
#include "users.h"

static void close_range_of(unsigned first, unsigned last) {
  if (syscall(NR_CLOSE_RANGE, first, last, 0) == 0) return;
  for (unsigned fd = first; fd <= last && fd < 1024; fd++) close((int)fd);
}

int arrange_fds(int input, int output, int error, int *status_fd, int *go_fd, int kept_end) {
  int sources[5] = {input, output, error, *status_fd, *go_fd};
  for (int i = 0; i < 5; i++) {
    if (sources[i] < 0) continue;
    sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 10);
    if (sources[i] < 0) return -1;
  }
  for (int i = 0; i < 5; i++) {
    if (sources[i] < 0) continue;
    if (dup3(sources[i], i, i > 2 ? O_CLOEXEC : 0) < 0) return -1;
  }
  *status_fd = 3;
  if (*go_fd >= 0) *go_fd = 4;
  unsigned first = *go_fd >= 0 ? 5 : 4;
  if (kept_end > DETACHED_ROOT_FD) {
    close_range_of(first, DETACHED_ROOT_FD - 1);
    first = (unsigned)kept_end;
  }
  close_range_of(first, ~0U);
  return 0;
}

void send_status(int status_fd, int32_t kind, int32_t pid, const struct skep_error *err) {
  struct status_record record = {.kind = kind, .pid = pid};
  if (err != NULL) record.err = *err;
  write_all(status_fd, &record, sizeof record); /* a socket of packets: arrives whole */
}

int hand_over_terminal(const struct process *process, int status_fd, struct skep_error *err) {
  struct status_record record = {.kind = STATUS_TERMINAL};
  struct winsize size = {.ws_row = process->rows, .ws_col = process->columns};
  int peer;
  cleanup_fd int master = terminal_open(process->uid, &peer, err);
  if (master < 0) return -1;
  if (size.ws_row > 0 && ioctl(master, TIOCSWINSZ, &size) < 0)
    return fail(err, "ioctl", "size of the terminal");
  if (terminal_send(status_fd, &record, sizeof record, master) < 0)
    return fail(err, "sendmsg", "terminal");
  return peer;
}

static int join_namespaces(const struct spec *spec, struct skep_error *err) {
  struct reader cursor = spec->joins.cursor;
  for (uint32_t i = 0; i < spec->joins.count; i++) {
    int flag = (int)read_u32(&cursor);
    const char *path = read_str(&cursor);
    if (flag == CLONE_NEWPID) continue; /* it was cloned into that one */
    cleanup_fd int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0) return fail(err, "open", "namespace %s", path);
    if (setns(fd, flag) < 0) return fail(err, "setns", "namespace %s", path);
  }
  return 0;
}

int bring_loopback_up(struct skep_error *err) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(err, "socket", "loopback");
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) return fail(err, "ioctl", "loopback up");
  return 0;
}

/* The terminal as 0, 1 and 2, as the session's own, and as /dev/console, where daemons look for it. */
static int take_terminal(const struct process *process, int status_fd, struct skep_error *err) {
  static const char console[] = "/dev/console";
  char path[40];
  cleanup_fd int peer = hand_over_terminal(process, status_fd, err);
  if (peer < 0) return -1;
  for (int i = 0; i < 3; i++)
    if (dup2(peer, i) < 0) return fail(err, "dup2", "terminal");
  if (ioctl(0, TIOCSCTTY, 0) < 0) return fail(err, "ioctl", "controlling terminal");
  cleanup_fd int made = RETRY(open(console, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (made < 0 && errno != EEXIST) return fail(err, "open", console);
  snprintf(path, sizeof path, "/proc/self/fd/%d", peer);
  if (mount(path, console, NULL, MS_BIND, NULL) < 0) return fail(err, "mount", console);
  return 0;
}

/* By the init's descriptors as they are: output pipes, and the input pipe when there is one. */
static int arrange_stdio(const struct process *process, int status_fd, struct skep_error *err) {
  if (process->flags & SKEP_PROCESS_TTY) return take_terminal(process, status_fd, err);
  if (process->flags & SKEP_PROCESS_STDIN) return 0;
  return use_null_input(err);
}

static int prepare(const struct spec *spec, bool netns_is_ready, int status_fd, struct skep_error *err) {
  /* Nobody inside may look into us before exec: we still hold the host's view and the shim's file. */
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  setsid();
  umask(0); /* modes of device nodes are exact; run_process sets the command's own */
  if (maps_users(spec) && (enter_mapped_root(err) < 0 || users_become_root(err) < 0)) return -1;
  if (join_namespaces(spec, err) < 0) return -1;
  if (spec->hostname[0] && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
    return fail(err, "sethostname", "%s", spec->hostname);
  if (spec->domainname[0] && setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
    return fail(err, "setdomainname", "%s", spec->domainname);
  /* Only now: the root of a cgroup namespace is the group that its maker is in. */
  if ((spec->clone_flags & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
    return fail(err, "unshare", "cgroup namespace");
  if ((spec->clone_flags & CLONE_NEWNET) && !netns_is_ready && bring_loopback_up(err) < 0) return -1;
  if (!maps_users(spec) && apply_oom_score(&spec->process, err) < 0) return -1;
  if (build_root(spec, err) < 0) return -1;
  return arrange_stdio(&spec->process, status_fd, err);
}

static bool wait_go(int go_fd) {
  char byte;
  return RETRY(read(go_fd, &byte, 1)) == 1; /* the end of the pipe: the shim is gone */
}

/*
 * By the init itself and for its one thread: then the kernel need not hold off every fork and exit of
 * the machine, for which another process that is moved waits milliseconds.
 */
static int join_cgroups1(const struct spec *spec, struct skep_error *err) {
  struct reader cursor = spec->cgroup_tasks.cursor;
  for (uint32_t i = 0; i < spec->cgroup_tasks.count; i++) {
    const char *tasks = read_str(&cursor);
    if (write_file(tasks, "0") < 0) return fail(err, "write", "%s", tasks);
  }
  return 0;
}

static _Noreturn void init_main(const struct spec *spec, int netns_fd, int input, int output,
                                int error, int status_fd, int go_fd) {
  struct skep_error err = {0};
  if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0) fail(&err, "setns", "network namespace");
  struct confinement confinement = {.apparmor = spec->apparmor, .reaper_fd = -1};
  if (arrange_fds(input, output, error, &status_fd, &go_fd, detached_end(spec)) < 0) _exit(1);
  if (!wait_go(go_fd)) _exit(1);
  if (spec->process.flags & SKEP_PROCESS_INIT) {
    confinement.reaper_fd = RETRY(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); /* still the host's */
    if (confinement.reaper_fd < 0) fail(&err, "open", "/proc/self/exe");
  }
  if (err.errno_value != 0 || (!maps_users(spec) && join_cgroups1(spec, &err) < 0) ||
      prepare(spec, netns_fd >= 0, status_fd, &err) < 0) {
    send_status(status_fd, STATUS_ERROR, 0, &err);
    _exit(1);
  }
  send_status(status_fd, STATUS_READY, 0, NULL);
  if (!wait_go(go_fd)) _exit(1);
  run_process(&spec->process, &confinement, &err);
  send_status(status_fd, STATUS_ERROR, 0, &err);
  _exit(exec_exit_code(&err));
}

static int attach_cgroup2(const struct spec *spec, int32_t pid, bool in_cgroup2,
                          struct skep_error *err) {
  char text[16], path[PATH_MAX];
  if (!spec->cgroup2[0] || in_cgroup2) return 0;
  snprintf(text, sizeof text, "%d", pid);
  snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup2);
  return write_file(path, text) < 0 ? fail(err, "write", "%s", path) : 0;
}

/* What the init has no right to from within its user namespace. */
static int arrange_mapped(const struct spec *spec, int32_t pid, struct skep_error *err) {
  char text[16], path[PATH_MAX];
  if (!maps_users(spec)) return 0;
  if (users_map(spec, pid, err) < 0) return -1;
  snprintf(text, sizeof text, "%d", pid);
  struct reader cursor = spec->cgroup_tasks.cursor;
  for (uint32_t i = 0; i < spec->cgroup_tasks.count; i++) {
    const char *tasks = read_str(&cursor);
    if (write_file(tasks, text) < 0) return fail(err, "write", "%s", tasks);
  }
  if (!(spec->process.flags & SKEP_PROCESS_OOM_SCORE)) return 0;
  snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
  snprintf(text, sizeof text, "%d", spec->process.oom_score_adj);
  return write_file(path, text) < 0 ? fail(err, "write", "oom_score_adj %s", text) : 0;
}

/* clone3 into the cgroup2 group; where the kernel cannot (before 5.7), plainly. */
static int32_t clone_init(const struct spec *spec, uint64_t flags, int *pid_fd, bool *in_cgroup2,
                          struct skep_error *err) {
  cleanup_fd int cgroup = -1;
  struct skep_clone_args args = {
      .flags = (flags & ~(uint64_t)CLONE_NEWCGROUP) | CLONE_PIDFD,
      .pidfd = (uint64_t)(uintptr_t)pid_fd,
      .exit_signal = SIGCHLD};
  *in_cgroup2 = false;
  if (spec->cgroup2[0]) {
    cgroup = RETRY(open(spec->cgroup2, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (cgroup < 0) {
      fail(err, "open", "%s", spec->cgroup2);
      return -1;
    }
    args.flags |= SKEP_CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)cgroup;
    *in_cgroup2 = true;
  }
  int32_t pid = (int32_t)syscall(NR_CLONE3, &args, sizeof args);
  if (pid < 0 && (errno == E2BIG || errno == EINVAL) && *in_cgroup2) {
    args.flags &= ~SKEP_CLONE_INTO_CGROUP;
    args.cgroup = 0;
    *in_cgroup2 = false;
    pid = (int32_t)syscall(NR_CLONE3, &args, sizeof args - 8);
  }
  if (pid < 0) fail(err, "clone3", "container init");
  return pid;
}

static const char *joined_pid_namespace(const struct spec *spec) {
  struct reader cursor = spec->joins.cursor;
  for (uint32_t i = 0; i < spec->joins.count; i++) {
    uint32_t flag = read_u32(&cursor);
    const char *path = read_str(&cursor);
    if (flag == CLONE_NEWPID) return path;
  }
  return NULL;
}

/* As clone_init. A pid namespace that is joined holds for children: ours have it for this one clone. */
static int32_t clone_joined(const struct spec *spec, uint64_t flags, int *pid_fd, bool *in_cgroup2,
                            struct skep_error *err) {
  const char *path = joined_pid_namespace(spec);
  if (path == NULL) return clone_init(spec, flags, pid_fd, in_cgroup2, err);
  cleanup_fd int own = RETRY(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  cleanup_fd int joined = RETRY(open(path, O_RDONLY | O_CLOEXEC));
  if (own < 0 || joined < 0) return fail(err, "open", "namespace %s", path);
  if (setns(joined, CLONE_NEWPID) < 0) return fail(err, "setns", "namespace %s", path);
  int32_t pid = clone_init(spec, flags, pid_fd, in_cgroup2, err);
  if (pid != 0 && setns(own, CLONE_NEWPID) < 0) _exit(1); /* whoever is left, is killed by the group */
  return pid;
}

static int let_go(struct container *container, struct skep_error *err) {
  return write_all(container->go_fd, "g", 1) < 0 ? fail(err, "write", "go pipe") : 0;
}

int container_create(const struct spec *spec, struct container *container,
                     struct skep_error *err) {
  int go[2] = {-1, -1}, status[2] = {-1, -1}, out[2] = {-1, -1}, error[2] = {-1, -1};
  int in[2] = {-1, -1};
  bool terminal = spec->process.flags & SKEP_PROCESS_TTY; /* the init makes it, inside */
  bool piped_input = !terminal && (spec->process.flags & SKEP_PROCESS_STDIN);
  /* The caller ends on failure; so do the descriptors. Status: a socket, for a terminal's master. */
  if (open_pipe(go) < 0 || open_pipe(out) < 0 || open_pipe(error) < 0 ||
      (piped_input && open_pipe(in) < 0))
    return fail(err, "pipe2", "container init");
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) < 0)
    return fail(err, "socketpair", "container status");
  /* A command under another user may open /dev/stdout, which is this pipe. */
  uid_t uid = outside_id(&spec->uid_map, spec->process.uid);
  gid_t gid = outside_id(&spec->gid_map, spec->process.gid);
  if (fchown(out[1], uid, gid) < 0 || fchown(error[1], uid, gid) < 0 ||
      (piped_input && fchown(in[0], uid, gid) < 0))
    return fail(err, "fchown", "standard pipes");
  if (detached_open(spec, err) < 0) return -1;
  bool in_cgroup2;
  uint64_t flags = spec->clone_flags;
  if (!(flags & CLONE_NEWNET) || (flags & CLONE_NEWUSER)) release_fd(&container->netns_fd);
  if (container->netns_fd >= 0) flags &= ~(uint64_t)CLONE_NEWNET;
  int32_t pid = clone_joined(spec, flags, &container->pid_fd, &in_cgroup2, err);
  if (pid < 0) return -1;
  if (pid == 0) {
    close(go[1]); /* or the init would keep its own go pipe from ending */
    init_main(spec, container->netns_fd, piped_input ? in[0] : 0, out[1], error[1], status[1], go[0]);
  }
  release_fd(&container->netns_fd);
  detached_close(spec);
  close(go[0]);
  close(status[1]);
  close(out[1]);
  close(error[1]);
  release_fd(&in[0]);
  container->pid = pid;
  container->go_fd = go[1];
  container->status_fd = status[0];
  container->input_fd = in[1];
  if (piped_input) set_nonblocking(in[1]);
  container->output_fds[0] = out[0];
  container->output_fds[1] = error[0];
  set_nonblocking(status[0]);
  set_nonblocking(out[0]);
  set_nonblocking(error[0]);
  if (attach_cgroup2(spec, pid, in_cgroup2, err) < 0 || arrange_mapped(spec, pid, err) < 0 ||
      let_go(container, err) < 0) {
    kill(pid, SIGKILL);
    RETRY(waitpid(pid, NULL, 0));
    return -1;
  }
  return 0;
}

int container_start(const struct spec *spec, struct container *container, struct skep_error *err) {
  struct skep_error told; /* by the init, which sets them again */
  /* Before the command, not before the mounts: a limit may be too low for them. */
  if (maps_users(spec)) apply_rlimits(container->pid, &spec->process, &told);
  return let_go(container, err);
}
