/*
 * From a prepared container to the running command. Order matters: what needs privilege first, the
 * seccomp filter as late as the rules allow (without no_new_privs loading needs CAP_SYS_ADMIN).
 */
#include "process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "kernel.h"
#include "reaper.h"

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

#define PROC_MAGIC 0x9fa0

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

int apply_oom_score(const struct process *process, struct skep_error *err) {
  char text[16];
  if (!(process->flags & SKEP_PROCESS_OOM_SCORE)) return 0;
  snprintf(text, sizeof text, "%d", process->oom_score_adj);
  if (write_file("/proc/self/oom_score_adj", text) < 0)
    return fail(err, "write", "oom_score_adj %d", process->oom_score_adj);
  return 0;
}

int apply_rlimits(int32_t pid, const struct process *process, struct skep_error *err) {
  struct reader cursor = process->rlimits.cursor;
  for (uint32_t i = 0; i < process->rlimits.count; i++) {
    int resource = (int)read_u32(&cursor);
    uint64_t soft = read_u64(&cursor), hard = read_u64(&cursor);
    uint64_t limit[2] = {soft, hard}; /* the kernel's struct rlimit64 */
    if (syscall(SYS_prlimit64, pid, resource, limit, NULL) < 0)
      return fail(err, "prlimit", "resource %d", resource);
  }
  return 0;
}

/* Raw calls: the C library's wrappers synchronise threads, which a cloned child does not have. */
static int apply_groups(const struct process *process, struct skep_error *err) {
  uint32_t count = process->groups.count;
  cleanup_free gid_t *groups = calloc(count + 1, sizeof *groups);
  if (groups == NULL) return fail(err, "calloc", "%u groups", count);
  struct reader cursor = process->groups.cursor;
  for (uint32_t i = 0; i < count; i++) groups[i] = read_u32(&cursor);
  if (syscall(SYS_setgroups, (long)count, groups) < 0) return fail(err, "setgroups", "%u", count);
  if (syscall(SYS_setresgid, process->gid, process->gid, process->gid) < 0)
    return fail(err, "setresgid", "%u", process->gid);
  return 0;
}

static int drop_bounding(uint64_t keep, struct skep_error *err) {
  for (int cap = 0; cap < 64; cap++) {
    if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0) return 0; /* past the kernel's last one */
    if (keep & (1ULL << cap)) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) return fail(err, "prctl", "drop capability %d", cap);
  }
  return 0;
}

static int load_seccomp(const struct process *process, struct skep_error *err) {
  if (process->seccomp_length == 0) return 0;
  cleanup_free struct sock_filter *filter = malloc(process->seccomp_length);
  if (filter == NULL) return fail(err, "malloc", "seccomp filter");
  memcpy(filter, process->seccomp, process->seccomp_length);
  struct sock_fprog program = {.len = (unsigned short)(process->seccomp_length / sizeof *filter),
                               .filter = filter};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    return fail(err, "seccomp", "filter of %u instructions", program.len);
  return 0;
}

/* What the daemon itself lacks cannot be given: such capabilities are left out, as runc does. */
static int apply_capabilities(const struct process *process, struct skep_error *err) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) < 0) return fail(err, "capget", "process");
  for (int i = 0; i < 2; i++) {
    uint32_t held = data[i].permitted;
    data[i].effective = (uint32_t)(process->effective >> (32 * i)) & held;
    data[i].permitted = (uint32_t)(process->permitted >> (32 * i)) & held;
    data[i].inheritable = (uint32_t)(process->inheritable >> (32 * i)) & held;
  }
  if (syscall(SYS_capset, &header, data) < 0) return fail(err, "capset", "process");
  return 0;
}

static int apply_identity(const struct process *process, struct skep_error *err) {
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return fail(err, "prctl", "keep capabilities");
  if (syscall(SYS_setresuid, process->uid, process->uid, process->uid) < 0)
    return fail(err, "setresuid", "%u", process->uid);
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return fail(err, "prctl", "keep capabilities");
  if (apply_capabilities(process, err) < 0) return -1;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int cap = 0; cap < 64; cap++) {
    if (!(process->ambient & (1ULL << cap))) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
      return fail(err, "prctl", "ambient capability %d", cap);
  }
  return 0;
}

static void make_directories(const char *path) {
  char part[4096];
  size_t length = strlen(path);
  if (length >= sizeof part) return;
  for (size_t i = 1; i <= length; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(part, path, i);
    part[i] = 0;
    mkdir(part, 0755); /* what is really wrong shows at chdir */
  }
}

static int enter_directory(const char *cwd, struct skep_error *err) {
  char actual[4096];
  if (chdir(cwd) < 0) return fail(err, "chdir", "%s", cwd);
  /* A directory outside the container's root, reached through a leaked descriptor, has no path
   * here: the kernel then answers "(unreachable)...". */
  if (syscall(SYS_getcwd, actual, sizeof actual) < 0 || actual[0] != '/')
    return fail_with(err, EXDEV, "chdir", "%s: outside the container", cwd);
  return 0;
}

static char **string_array(const struct list *list) {
  char **strings = calloc(list->count + 1, sizeof *strings);
  struct reader cursor = list->cursor;
  for (uint32_t i = 0; strings != NULL && i < list->count; i++)
    strings[i] = (char *)read_str(&cursor);
  return strings;
}

/* As execvpe, but by the container's own PATH and without a shell for files of unknown format. */
static void execute(char **args, char **env) {
  char candidate[4096];
  bool denied = false;
  const char *path = default_path;
  if (strchr(args[0], '/') != NULL) {
    execve(args[0], args, env);
    return;
  }
  for (char **entry = env; *entry; entry++)
    if (strncmp(*entry, "PATH=", 5) == 0) path = *entry + 5;
  while (args[0][0] != 0) {
    size_t length = strcspn(path, ":");
    const char *directory = length == 0 ? "." : path;
    int n = snprintf(candidate, sizeof candidate, "%.*s/%s", length == 0 ? 1 : (int)length,
                     directory, args[0]);
    if (n > 0 && (size_t)n < sizeof candidate) execve(candidate, args, env);
    if (errno == EACCES)
      denied = true;
    else if (errno != ENOENT && errno != ENOTDIR)
      return;
    if (path[length] == 0) break;
    path += length + 1;
  }
  errno = denied ? EACCES : ENOENT;
}

static int drop_privileges(const struct process *process, struct skep_error *err) {
  bool no_new_privileges = process->flags & SKEP_PROCESS_NO_NEW_PRIVILEGES;
  if (apply_groups(process, err) < 0 || drop_bounding(process->bounding, err) < 0) return -1;
  if (!no_new_privileges && load_seccomp(process, err) < 0) return -1;
  if (apply_identity(process, err) < 0) return -1;
  if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail(err, "prctl", "no_new_privs");
  return 0;
}

/* The image may have put anything at /proc: a write elsewhere would leave the command unconfined. */
static int write_proc(const char *path, const char *text) {
  struct statfs fs;
  cleanup_fd int fd = RETRY(open(path, O_WRONLY | O_CLOEXEC));
  if (fd < 0) return -1;
  if (fstatfs(fd, &fs) < 0) return -1;
  if (fs.f_type != PROC_MAGIC) {
    errno = EXDEV;
    return -1;
  }
  return write_all(fd, text, strlen(text));
}

/* For the next exec. The second name is the one of kernels with a single security module. */
static int apply_apparmor(const char *profile, struct skep_error *err) {
  char text[512];
  if (profile[0] == 0) return 0;
  if (snprintf(text, sizeof text, "exec %s", profile) >= (int)sizeof text)
    return fail_with(err, ENAMETOOLONG, "apparmor", "profile %.64s...", profile);
  if (write_proc("/proc/self/attr/apparmor/exec", text) == 0) return 0;
  if (errno == ENOENT && write_proc("/proc/self/attr/exec", text) == 0) return 0;
  return fail(err, "apparmor", "profile %s", profile);
}

int execute_command(char **args, char **env, struct skep_error *err) {
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL); /* what cannot be set, is */
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(args, env);
  return fail(err, "execve", "%s", args[0]);
}

int exec_exit_code(const struct skep_error *err) { return err->errno_value == ENOENT ? 127 : 126; }

/* This program once more, as pid 1, with all that the command would have had; it tells of an error
 * through the same status descriptor. */
static int execute_reaper(int reaper_fd, uint32_t count, char **args, char **env,
                          struct skep_error *err) {
  char **all = calloc(count + 3, sizeof *all);
  if (all == NULL) return fail(err, "calloc", "arguments");
  all[0] = REAPER_NAME;
  all[1] = "--";
  memcpy(all + 2, args, count * sizeof *args);
  if (fcntl(REAPER_STATUS_FD, F_SETFD, 0) < 0) return fail(err, "fcntl", REAPER_NAME);
  syscall(SYS_execveat, reaper_fd, "", all, env, AT_EMPTY_PATH);
  return fail(err, "execveat", REAPER_NAME);
}

int run_process(const struct process *process, const struct confinement *confinement,
                struct skep_error *err) {
  char **args = string_array(&process->args), **env = string_array(&process->env);
  if (args == NULL || env == NULL) return fail(err, "calloc", "arguments");
  umask((mode_t)process->umask);
  if (apply_rlimits(0, process, err) < 0) return -1;
  if (process->flags & SKEP_PROCESS_CREATE_CWD) make_directories(process->cwd);
  if (drop_privileges(process, err) < 0) return -1;
  if (enter_directory(process->cwd, err) < 0) return -1;
  if ((process->flags & SKEP_PROCESS_NO_NEW_PRIVILEGES) && load_seccomp(process, err) < 0) return -1;
  if (apply_apparmor(confinement->apparmor, err) < 0) return -1;
  if (confinement->reaper_fd >= 0)
    return execute_reaper(confinement->reaper_fd, process->args.count, args, env, err);
  return execute_command(args, env, err);
}

int use_null_input(struct skep_error *err) {
  cleanup_fd int fd = RETRY(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (fd < 0 && errno == ENOENT) {
    int ends[2];
    if (open_pipe(ends) < 0) return fail(err, "pipe2", "standard input");
    close(ends[1]);
    fd = ends[0];
  }
  if (fd < 0) return fail(err, "open", "/dev/null");
  if (dup2(fd, 0) < 0) return fail(err, "dup2", "/dev/null");
  return 0;
}
