#include "oci.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "detached.h"
#include "kernel.h"
#include "mounts.h"
#include "process.h"
#include "shim.h"
#include "terminal.h"

#define VERB_ARGS_MAX 12
#define CREATE_MS 25000 /* the daemon waits for 30 s */
#define DELETE_MS 5000
#define START_MS 5000
#define LOG_BYTES_MAX 8192
#define STAGED "staged"
#define CONSOLE "console"

/* ---- before it makes the container: in a mount namespace of its own ---- */

/* Binds whose source nobody may exchange meanwhile, or is another container's: at a place of ours. */
static int stage_binds(const struct spec *spec, struct skep_error *err) {
  unsigned count = 0;
  struct reader cursor = spec->mounts.cursor;
  for (uint32_t i = 0; i < spec->mounts.count; i++) {
    struct mount_entry entry;
    struct stat source;
    char place[32];
    read_mount(&cursor, &entry);
    if (!(entry.kind & (SKEP_MOUNT_NO_LINKS | SKEP_MOUNT_FOREIGN))) continue;
    if (count == 0 && ((mkdir(STAGED, 0700) < 0 && errno != EEXIST) ||
                       mount("tmpfs", STAGED, "tmpfs", 0, "mode=700") < 0))
      return fail(err, "mount", STAGED);
    int fd = detached_mount_fd(i);
    if (detached_bind(&entry, fd, -1, err) < 0) return -1;
    snprintf(place, sizeof place, STAGED "/%u", count++);
    if (fstat(fd, &source) < 0) return fail(err, "stat", "mount source %s", entry.source);
    int made = S_ISDIR(source.st_mode) ? mkdir(place, 0700) : mknod(place, S_IFREG | 0600, 0);
    if (made < 0) return fail(err, "mkdir", "%s", place);
    if (syscall(NR_MOVE_MOUNT, fd, "", AT_FDCWD, place, SKEP_MOVE_FROM_EMPTY) < 0)
      return fail(err, "move_mount", "mount source %s", entry.source);
  }
  return 0;
}

static bool is_hybrid(const struct spec *spec) {
  return spec->cgroup_tasks.count > 0 && spec->cgroup2[0];
}

/*
 * The v2 hierarchy of a hybrid machine has no controllers that count, and crun refuses such a machine:
 * it is not there for a runtime, which is in its group already. The group is `<hierarchy>/<parent>/<id>`.
 */
static int hide_cgroup2(const struct spec *spec, struct skep_error *err) {
  char path[PATH_MAX];
  if (!is_hybrid(spec)) return 0;
  snprintf(path, sizeof path, "%s", spec->cgroup2);
  for (int i = 0; i < 2; i++) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) return fail_with(err, EINVAL, "umount2", "%s", spec->cgroup2);
    *slash = 0;
  }
  return umount2(path, MNT_DETACH) < 0 ? fail(err, "umount2", "%s", path) : 0;
}

static int join_cgroup2(const struct spec *spec, struct skep_error *err) {
  char path[PATH_MAX];
  if (!is_hybrid(spec)) return 0;
  snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup2);
  return write_file(path, "0") < 0 ? fail(err, "write", "%s", path) : 0;
}

/* What the runtime sees of this machine, and the host does not: the root, the staged binds. `makes`: it
 * is to make the container, which has the group and the mounts from it. */
static int arrange_view(const struct spec *spec, bool makes, struct skep_error *err) {
  if (makes && join_cgroup2(spec, err) < 0) return -1;
  if (unshare(CLONE_NEWNS) < 0) return fail(err, "unshare", "mount namespace");
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
    return fail(err, "mount", "propagation of /");
  if (hide_cgroup2(spec, err) < 0) return -1;
  if (!makes) return 0;
  if (mount_overlay(spec, err) < 0) return -1;
  return stage_binds(spec, err);
}

/* ---- the runtime as a program ---- */

static const char *container_name(const struct shim *shim) {
  const char *slash = strrchr(shim->oci.directory, '/');
  return slash ? slash + 1 : shim->oci.directory;
}

struct call {
  const char *const *verb; /* with its flags, ends with NULL; the container's name follows */
  int stdio[3];
  bool makes; /* the container, by the bundle */
};

static _Noreturn void call_main(const struct shim *shim, const struct call *call, int status_fd) {
  static char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  char root[PATH_MAX], log[PATH_MAX];
  char *args[8 + VERB_ARGS_MAX] = {(char *)shim->spec.oci_runtime, "--root", root, "--log", log,
                                   "--log-format", "json"};
  struct skep_error err = {0};
  int count = 7, none = -1;
  snprintf(root, sizeof root, "%s/oci", shim->oci.directory);
  snprintf(log, sizeof log, "%s/oci.log", shim->oci.directory);
  for (int i = 0; call->verb[i] != NULL && i < VERB_ARGS_MAX - 2; i++)
    args[count++] = (char *)call->verb[i];
  args[count] = (char *)container_name(shim);
  umask(022);
  if (arrange_view(&shim->spec, call->makes, &err) == 0) {
    if (arrange_fds(call->stdio[0], call->stdio[1], call->stdio[2], &status_fd, &none, 0) < 0)
      fail(&err, "dup3", "runtime");
    else
      execute_command(args, env, &err);
  }
  if (strcmp(err.syscall, "execve") == 0) snprintf(err.syscall, sizeof err.syscall, "runtime");
  send_status(status_fd, STATUS_ERROR, 0, &err);
  _exit(127);
}

/* -1 with err; else its pid. `status_fd`: a status_record if it does not come to be, else the end. */
static int32_t call_runtime(const struct shim *shim, const struct call *call, int *pid_fd,
                            int *status_fd, struct skep_error *err) {
  int status[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) < 0)
    return fail(err, "socketpair", "runtime");
  struct skep_clone_args args = {
      .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pid_fd, .exit_signal = SIGCHLD};
  int32_t pid = (int32_t)syscall(NR_CLONE3, &args, sizeof args);
  if (pid == 0) call_main(shim, call, status[1]);
  if (pid < 0) fail(err, "clone3", "runtime");
  close(status[1]);
  if (pid > 0 && status_fd != NULL)
    *status_fd = status[0];
  else
    close(status[0]);
  return pid;
}

/* Its status, as of waitpid. One that takes too long is killed, and one whose daemon has gone meanwhile. */
static int await_end(const struct shim *shim, int32_t pid, int pid_fd, int within_ms) {
  int status = 0;
  int64_t deadline_ms = monotonic_ms() + within_ms;
  struct pollfd entries[2] = {{.fd = pid_fd, .events = POLLIN}, {.fd = shim->launch_fd}};
  for (;;) {
    int64_t left_ms = deadline_ms - monotonic_ms();
    int ready = poll(entries, 2, left_ms > 0 ? (int)left_ms : 0);
    if (entries[0].revents) break;
    if (ready < 0 && errno == EINTR) continue;
    kill(pid, SIGKILL);
    break;
  }
  RETRY(waitpid(pid, &status, 0));
  return status;
}

/* The last message of the runtime's log; "" = none. */
static void last_message(char *text, size_t size) {
  static const char mark[] = "\"msg\":\"";
  static char log[LOG_BYTES_MAX + 1];
  size_t used = 0;
  text[0] = 0;
  cleanup_fd int fd = RETRY(open("oci.log", O_RDONLY | O_CLOEXEC));
  if (fd < 0) return;
  off_t end = lseek(fd, 0, SEEK_END);
  lseek(fd, end > LOG_BYTES_MAX ? end - LOG_BYTES_MAX : 0, SEEK_SET);
  ssize_t length = read_full(fd, log, LOG_BYTES_MAX);
  log[length > 0 ? length : 0] = 0;
  const char *found = NULL;
  for (const char *at = log; (at = strstr(at, mark)) != NULL; at += sizeof mark - 1) found = at;
  if (found == NULL) return;
  for (const char *at = found + sizeof mark - 1; *at && *at != '"' && used + 1 < size; at++) {
    if (*at == '\\' && at[1]) at++;
    text[used++] = *at;
  }
  text[used] = 0;
}

/* Whether its words are about the command, as those of crun and runc are; then as our own init says it. */
static bool is_of_command(const struct shim *shim, const char *words, struct skep_error *err) {
  struct reader args = shim->spec.process.args.cursor;
  const char *command = read_str(&args);
  if (strstr(words, "exec: \"") == NULL && strstr(words, "executable") == NULL &&
      strstr(words, "exec container process") == NULL)
    return false;
  if (strstr(words, "o such file") != NULL || strstr(words, "not found") != NULL)
    fail_with(err, ENOENT, "execve", "%s", command);
  else if (strstr(words, "xec format") != NULL)
    fail_with(err, ENOEXEC, "execve", "%s", command);
  else if (strstr(words, "ermission denied") != NULL ||
           strstr(words, "peration not permitted") != NULL || strstr(words, "s a directory") != NULL)
    fail_with(err, EACCES, "execve", "%s", command);
  else
    return false;
  return true;
}

/* 0, or why not. @param told a record of the process that was to be the runtime */
static int outcome(const struct shim *shim, int status, const struct status_record *told,
                   struct skep_error *err) {
  char words[sizeof err->detail];
  if (told != NULL && told->kind == STATUS_ERROR) {
    *err = told->err;
    return -1;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  last_message(words, sizeof words);
  if (is_of_command(shim, words, err)) return -1;
  if (words[0] == 0 && WIFSIGNALED(status))
    snprintf(words, sizeof words, "it was ended by signal %d", WTERMSIG(status));
  else if (words[0] == 0)
    snprintf(words, sizeof words, "it ended with %d", WEXITSTATUS(status));
  return fail_with(err, EPROTO, "runtime", "%s: %s", shim->spec.oci_runtime, words);
}

/* ---- its verbs ---- */

static int listen_for_console(struct skep_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONSOLE};
  unlink(CONSOLE);
  cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(err, "socket", "console");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return fail(err, "bind", "console");
  if (listen(fd, 1) < 0) return fail(err, "listen", "console");
  int result = fd;
  fd = -1;
  return result;
}

/* The runtime has ended: what it had to say waits. */
static int take_console(int listener, struct container *container, struct skep_error *err) {
  char name[256];
  int master;
  cleanup_fd int fd = RETRY(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
  unlink(CONSOLE);
  if (fd < 0) return fail(err, "accept", "console");
  if (terminal_receive(fd, name, sizeof name, &master) < 0 || master < 0)
    return fail_with(err, EPROTO, "recvmsg", "console");
  set_nonblocking(master);
  container->output_fds[0] = master;
  container->input_fd = fcntl(master, F_DUPFD_CLOEXEC, 0);
  return 0;
}

/* Pipes as our own init has them; `child` is the container's side. */
static int open_pipes(const struct process *process, struct container *container, int child[3],
                      struct skep_error *err) {
  bool terminal = process->flags & SKEP_PROCESS_TTY;
  for (int i = 0; i < 3; i++) {
    int ends[2];
    bool piped = !terminal && (i > 0 || (process->flags & SKEP_PROCESS_STDIN));
    if (!piped) {
      child[i] = RETRY(open("/dev/null", O_RDWR | O_CLOEXEC));
      if (child[i] < 0) return fail(err, "open", "/dev/null");
      continue;
    }
    if (open_pipe(ends) < 0) return fail(err, "pipe2", "container");
    child[i] = ends[i == 0 ? 0 : 1];
    *(i == 0 ? &container->input_fd : &container->output_fds[i - 1]) = ends[i == 0 ? 1 : 0];
    set_nonblocking(ends[i == 0 ? 1 : 0]);
    if (fchown(child[i], process->uid, process->gid) < 0) return fail(err, "fchown", "standard pipes");
  }
  return 0;
}

static int take_pid(struct shim *shim, struct skep_error *err) {
  char text[32];
  struct container *container = &shim->container;
  cleanup_fd int fd = RETRY(open("oci.pid", O_RDONLY | O_CLOEXEC));
  ssize_t length = fd < 0 ? -1 : read_full(fd, text, sizeof text - 1);
  if (length <= 0) return fail_with(err, EPROTO, "runtime", "%s: no pid file", shim->spec.oci_runtime);
  text[length] = 0;
  container->pid = atoi(text);
  container->pid_fd = (int)syscall(NR_PIDFD_OPEN, container->pid, 0);
  if (container->pid <= 0 || container->pid_fd < 0) return fail(err, "pidfd_open", "%s", text);
  return 0;
}

static int create(struct shim *shim, struct skep_error *err) {
  static const char *const plain[] = {"create", "--pid-file", "oci.pid", NULL};
  static const char *const with_console[] = {"create", "--pid-file", "oci.pid",
                                             "--console-socket", CONSOLE, NULL};
  struct container *container = &shim->container;
  bool terminal = shim->spec.process.flags & SKEP_PROCESS_TTY;
  struct call call = {.verb = terminal ? with_console : plain, .stdio = {-1, -1, -1}, .makes = true};
  cleanup_fd int console = terminal ? listen_for_console(err) : -1;
  cleanup_fd int pid_fd = -1, status_fd = -1;
  struct status_record told = {0};
  if (terminal && console < 0) return -1;
  int result = open_pipes(&shim->spec.process, container, call.stdio, err);
  int32_t pid = result < 0 ? -1 : call_runtime(shim, &call, &pid_fd, &status_fd, err);
  for (int i = 0; i < 3; i++) release_fd(&call.stdio[i]);
  if (pid < 0) return -1;
  int status = await_end(shim, pid, pid_fd, CREATE_MS);
  set_nonblocking(status_fd);
  bool heard = RETRY(read(status_fd, &told, sizeof told)) == sizeof told;
  if (outcome(shim, status, heard ? &told : NULL, err) < 0) return -1;
  if (take_pid(shim, err) < 0) return -1;
  return terminal ? take_console(console, container, err) : 0;
}

static void forget_container(struct container *container) {
  release_fd(&container->input_fd);
  release_fd(&container->output_fds[0]);
  release_fd(&container->output_fds[1]);
}

/* A runtime that fails takes the groups along. */
static void make_groups(const struct spec *spec) {
  char path[PATH_MAX];
  if (spec->cgroup2[0]) mkdir(spec->cgroup2, 0755);
  struct reader cursor = spec->cgroup_tasks.cursor;
  for (uint32_t i = 0; i < spec->cgroup_tasks.count; i++) {
    snprintf(path, sizeof path, "%s", read_str(&cursor));
    char *slash = strrchr(path, '/');
    if (slash != NULL) *slash = 0;
    mkdir(path, 0755); /* what is really wrong shows when it is joined */
  }
}

int oci_create(struct shim *shim, struct skep_error *err) {
  struct container *container = &shim->container;
  release_fd(&container->netns_fd);
  container->pid_fd = container->go_fd = container->status_fd = container->input_fd = -1;
  container->output_fds[0] = container->output_fds[1] = -1;
  if (create(shim, err) == 0) {
    shim->prepared = true;
    return 0;
  }
  if (container->pid > 0) kill(container->pid, SIGKILL);
  forget_container(container);
  oci_delete(shim);
  if (strcmp(err->syscall, "execve") != 0) return -1;
  shim->oci.refused = true;
  shim->oci.refusal = *err;
  make_groups(&shim->spec);
  return container_create(&shim->spec, container, err);
}

int oci_start(struct shim *shim, struct skep_error *err) {
  static const char *const verb[] = {"start", NULL};
  cleanup_fd int null = RETRY(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null < 0) return fail(err, "open", "/dev/null");
  if (shim->oci.refused) {
    *err = shim->oci.refusal;
    return -1;
  }
  struct call call = {.verb = verb, .stdio = {null, null, null}};
  shim->oci.starter_pid = call_runtime(shim, &call, &shim->oci.starter_fd, NULL, err);
  return shim->oci.starter_pid < 0 ? -1 : 0;
}

int oci_started(struct shim *shim, int status, struct skep_error *err) {
  shim->oci.starter_pid = 0;
  release_fd(&shim->oci.starter_fd);
  return outcome(shim, status, NULL, err);
}

int oci_await_starter(struct shim *shim) {
  return await_end(shim, shim->oci.starter_pid, shim->oci.starter_fd, START_MS);
}

void oci_delete(struct shim *shim) {
  static const char *const verb[] = {"delete", "--force", NULL};
  struct skep_error err;
  cleanup_fd int pid_fd = -1;
  cleanup_fd int null = RETRY(open("/dev/null", O_RDWR | O_CLOEXEC));
  struct call call = {.verb = verb, .stdio = {null, null, null}};
  int32_t pid = null < 0 ? -1 : call_runtime(shim, &call, &pid_fd, NULL, &err);
  if (pid > 0) await_end(shim, pid, pid_fd, DELETE_MS);
}
