#include "detached.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "kernel.h"
#include "users.h"

#define OPTIONS_MAX 4096 /* mount(2) takes one page */
#define PLACE_MAX 32

bool is_detached(const struct spec *spec, const struct mount_entry *entry) {
  if (entry->kind == SKEP_MOUNT_FILESYSTEM) return false;
  return maps_users(spec) || (entry->propagation & MS_SHARED) || (entry->kind & SKEP_MOUNT_FOREIGN);
}

/* A tree of its own, which nobody sees yet. `users`: its files' owners become ids of that namespace; -1 = none. */
static int clone_tree(const char *path, bool recursive, uint64_t propagation, int users) {
  int flags = recursive ? SKEP_AT_RECURSIVE : 0;
  cleanup_fd int fd = (int)syscall(NR_OPEN_TREE, AT_FDCWD, path,
                                   SKEP_OPEN_TREE_CLONE | O_CLOEXEC | (unsigned)flags);
  if (fd < 0) return -1;
  struct skep_mount_attr attr = {.propagation = propagation & ~(uint64_t)MS_REC};
  if (attr.propagation == MS_SHARED) attr.propagation = 0; /* a peer of what it was cloned from */
  if (users >= 0) {
    attr.attr_set = SKEP_ATTR_IDMAP;
    attr.userns_fd = (uint64_t)users;
  }
  if ((attr.propagation != 0 || users >= 0) &&
      syscall(NR_MOUNT_SETATTR, fd, "", AT_EMPTY_PATH | flags, &attr, sizeof attr) < 0)
    return -1;
  int result = fd;
  fd = -1;
  return result;
}

int bind_source(const struct mount_entry *entry, char path[BIND_SOURCE_MAX], int *fd) {
  struct skep_open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = SKEP_RESOLVE_NO_SYMLINKS};
  if (!(entry->kind & SKEP_MOUNT_NO_LINKS)) {
    snprintf(path, BIND_SOURCE_MAX, "%s", entry->source);
    return 0;
  }
  *fd = RETRY((int)syscall(NR_OPENAT2, AT_FDCWD, entry->source, &how, sizeof how));
  snprintf(path, BIND_SOURCE_MAX, "/proc/self/fd/%d", *fd);
  return *fd < 0 ? -1 : 0;
}

static int keep_at(int fd, int number, struct skep_error *err) {
  cleanup_fd int owned = fd;
  return dup3(owned, number, O_CLOEXEC) < 0 ? fail(err, "dup3", "mount %d", number) : 0;
}

/* ---- in helpers: processes that share our descriptors and nothing else ---- */

typedef int helper_work(const void *subject, int argument, struct skep_error *err);

/* It tells of an error in shared memory. */
static int in_helper(helper_work *work, const void *subject, int argument, struct skep_error *err) {
  int status = 0;
  struct skep_error *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return fail(err, "mmap", "mount helper");
  long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(work(subject, argument, shared) < 0 ? 1 : 0);
  int result = pid < 0 ? fail(err, "clone", "mount helper") : 0;
  if (pid > 0 && RETRY(waitpid((pid_t)pid, &status, 0)) < 0)
    result = fail(err, "waitpid", "mount helper");
  else if (pid > 0 && status != 0) {
    *err = *shared;
    if (err->errno_value == 0) fail_with(err, ECHILD, "clone", "the mount helper ended");
    result = -1;
  }
  munmap(shared, sizeof *shared);
  return result;
}

/* What another container sees there, by its own mounts; a link is not followed. */
static int clone_foreign(const void *subject, int number, struct skep_error *err) {
  const struct mount_entry *entry = subject;
  cleanup_fd int ns = RETRY(open(entry->data, O_RDONLY | O_CLOEXEC));
  if (ns < 0) return fail(err, "open", "namespace %s", entry->data);
  if (setns(ns, CLONE_NEWNS) < 0) return fail(err, "setns", "namespace %s", entry->data);
  int fd = (int)syscall(NR_OPEN_TREE, AT_FDCWD, entry->source,
                        SKEP_OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail(err, "open_tree", "mount source %s", entry->source);
  return keep_at(fd, number, err);
}

int detached_bind(const struct mount_entry *entry, int number, int users, struct skep_error *err) {
  if (entry->kind & SKEP_MOUNT_FOREIGN) return in_helper(clone_foreign, entry, number, err);
  uint64_t propagation = entry->propagation ? entry->propagation : MS_PRIVATE;
  bool mapped = entry->kind & SKEP_MOUNT_IDMAPPED;
  char source[BIND_SOURCE_MAX];
  cleanup_fd int held = -1;
  if (bind_source(entry, source, &held) < 0)
    return fail(err, "openat2", "mount source %s", entry->source);
  int fd = clone_tree(source, entry->flags & MS_REC, propagation, mapped ? users : -1);
  if (fd < 0 && errno == EINVAL && mapped)
    return fail(err, "mount_setattr", "%s: its file system cannot map owners", entry->source);
  if (fd < 0) return fail(err, "open_tree", "mount source %s", entry->source);
  return keep_at(fd, number, err);
}

static int open_binds(const struct spec *spec, int users, struct skep_error *err) {
  struct reader cursor = spec->mounts.cursor;
  for (uint32_t i = 0; i < spec->mounts.count; i++) {
    struct mount_entry entry;
    read_mount(&cursor, &entry);
    if (is_detached(spec, &entry) && detached_bind(&entry, detached_mount_fd(i), users, err) < 0)
      return -1;
  }
  return 0;
}

/* ---- with a mount namespace of its own: the working directory's `merged` is the helper's workshop ---- */

static int put_mapped(const char *source, const char *place, int users, struct skep_error *err) {
  if (mkdir(place, 0700) < 0) return fail(err, "mkdir", "%s", place);
  cleanup_fd int fd = clone_tree(source, false, MS_PRIVATE, users);
  if (fd < 0 && errno == EINVAL)
    return fail(err, "mount_setattr", "%s: its file system cannot map owners", source);
  if (fd < 0) return fail(err, "open_tree", "%s", source);
  if (syscall(NR_MOVE_MOUNT, fd, "", AT_FDCWD, place, SKEP_MOVE_FROM_EMPTY) < 0)
    return fail(err, "move_mount", "%s", source);
  return 0;
}

/* Layers and the container's own directory with their owners mapped: what lies on disk stays as in the image. */
static int make_root(const struct spec *spec, int users, struct skep_error *err) {
  char options[OPTIONS_MAX] = "upperdir=merged/task/upper,workdir=merged/task/work,lowerdir=";
  size_t used = strlen(options);
  if (put_mapped(".", "merged/task", users, err) < 0) return -1;
  struct reader cursor = spec->lower_dirs.cursor;
  for (uint32_t i = 0; i < spec->lower_dirs.count; i++) {
    char place[PLACE_MAX];
    snprintf(place, sizeof place, "merged/%u", i);
    if (put_mapped(read_str(&cursor), place, users, err) < 0) return -1;
    used += (size_t)snprintf(options + used, sizeof options - used, "%s%s", i ? ":" : "", place);
    if (used >= sizeof options)
      return fail_with(err, E2BIG, "mount", "overlay of %u layers", spec->lower_dirs.count);
  }
  if (mkdir("merged/root", 0700) < 0) return fail(err, "mkdir", "merged/root");
  if (mount("overlay", "merged/root", "overlay", 0, options) < 0)
    return fail(err, "mount", "overlay with mapped owners");
  int fd = clone_tree("merged/root", false, MS_PRIVATE, -1);
  if (fd < 0) return fail(err, "open_tree", "container root");
  return keep_at(fd, DETACHED_ROOT_FD, err);
}

/* Nobody may make devices in a user namespace: they come from a file system of the host's. */
static int make_devices(const struct spec *spec, struct skep_error *err) {
  if (mkdir("merged/dev", 0700) < 0) return fail(err, "mkdir", "merged/dev");
  struct reader cursor = spec->devices.cursor;
  for (uint32_t i = 0; i < spec->devices.count; i++) {
    char place[PLACE_MAX];
    const char *name = read_str(&cursor);
    mode_t mode = (mode_t)read_u32(&cursor);
    unsigned major_number = read_u32(&cursor), minor_number = read_u32(&cursor);
    uid_t uid = outside_id(&spec->uid_map, read_u32(&cursor));
    gid_t gid = outside_id(&spec->gid_map, read_u32(&cursor));
    snprintf(place, sizeof place, "merged/dev/%u", i);
    if (mknod(place, mode, makedev(major_number, minor_number)) < 0)
      return fail(err, "mknod", "%s", name);
    if (chown(place, uid, gid) < 0) return fail(err, "chown", "%s", name);
    int fd = clone_tree(place, false, MS_PRIVATE, -1);
    if (fd < 0) return fail(err, "open_tree", "%s", name);
    if (keep_at(fd, detached_device_fd(spec, i), err) < 0) return -1;
  }
  return 0;
}

/* What overlayfs makes by itself belongs to the container's root, and is made with all our rights. */
static int take_owner(const struct spec *spec, struct skep_error *err) {
  if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
    return fail(err, "prctl", "secure bits");
  setfsgid(outside_id(&spec->gid_map, 0));
  setfsuid(outside_id(&spec->uid_map, 0));
  return 0;
}

static int make_root_and_devices(const void *subject, int users, struct skep_error *err) {
  const struct spec *spec = subject;
  umask(0);
  if (unshare(CLONE_NEWNS) < 0) return fail(err, "unshare", "mount namespace");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return fail(err, "mount", "propagation of /");
  if (mount("tmpfs", "merged", "tmpfs", 0, "mode=700") < 0) return fail(err, "mount", "workshop");
  if (make_devices(spec, err) < 0) return -1;
  if (take_owner(spec, err) < 0) return -1;
  return make_root(spec, users, err);
}

int detached_open(const struct spec *spec, struct skep_error *err) {
  if (!maps_users(spec)) return open_binds(spec, -1, err);
  cleanup_fd int users = users_make(spec, err);
  if (users < 0) return -1;
  if (open_binds(spec, users, err) < 0) return -1;
  return in_helper(make_root_and_devices, spec, users, err);
}

void detached_close(const struct spec *spec) {
  for (int fd = DETACHED_ROOT_FD; fd < detached_end(spec); fd++) close(fd);
}

int detached_attach(int fd, int target) {
  return (int)syscall(NR_MOVE_MOUNT, fd, "", target, "", SKEP_MOVE_FROM_EMPTY | SKEP_MOVE_TO_EMPTY);
}
