/*
 * Overlay root, mounts of the spec, /dev, pivot_root, masked and read-only paths. Image content is
 * hostile: until pivot_root every target is resolved by openat2 inside the root, never by plain path.
 */
#include "mounts.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "detached.h"
#include "kernel.h"

#define FD_PATH_MAX 40
#define LINKS_MAX 16
#define OPTIONS_MAX 4096 /* mount(2) takes one page */

static void fd_path(char path[FD_PATH_MAX], int fd) {
  snprintf(path, FD_PATH_MAX, "/proc/self/fd/%d", fd);
}

/* ---- resolving inside the root ---- */

static int open_inside(int root, const char *path) {
  struct skep_open_how how = {.flags = O_PATH | O_CLOEXEC,
                              .resolve = SKEP_RESOLVE_IN_ROOT | SKEP_RESOLVE_NO_MAGICLINKS};
  return RETRY((int)syscall(NR_OPENAT2, root, path, &how, sizeof how));
}

enum kind { KIND_DIRECTORY, KIND_FILE };

/* Cuts path (no empty last part) into its directory, which stays in path, and its last name. */
static void split_path(char *path, char base[NAME_MAX + 1]) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/') path[--length] = 0;
  char *slash = strrchr(path, '/');
  snprintf(base, NAME_MAX + 1, "%s", slash ? slash + 1 : path);
  if (slash == NULL || slash == path)
    strcpy(path, "/");
  else
    *slash = 0;
}

/*
 * Opens path inside root, making what is missing. A dangling link (as /etc/resolv.conf in many
 * images) is followed and its target made. -1 with errno.
 */
static int ensure(int root, const char *path, enum kind kind, int links) {
  int fd = open_inside(root, path);
  if (fd >= 0 || errno != ENOENT) return fd;
  if (links >= LINKS_MAX) {
    errno = ELOOP;
    return -1;
  }
  char parent[4096], target[4096], joined[8192], base[NAME_MAX + 1];
  if (snprintf(parent, sizeof parent, "%s", path) >= (int)sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  split_path(parent, base);
  cleanup_fd int directory = ensure(root, parent, KIND_DIRECTORY, links);
  if (directory < 0) return -1;
  ssize_t length = readlinkat(directory, base, target, sizeof target - 1);
  if (length >= 0) {
    target[length] = 0;
    if (target[0] == '/')
      snprintf(joined, sizeof joined, "%s", target);
    else
      snprintf(joined, sizeof joined, "%s/%s", parent, target);
    return ensure(root, joined, kind, links + 1);
  }
  int made = kind == KIND_DIRECTORY ? mkdirat(directory, base, 0755)
                                    : mknodat(directory, base, S_IFREG | 0644, 0);
  if (made < 0 && errno != EEXIST) return -1;
  return open_inside(root, path);
}

/* ---- the overlay ---- */

static bool plain_in_options(const char *path) { return strpbrk(path, ",:\\\"") == NULL; }

/*
 * lowerdir=... into options. Paths stand as they are when they fit and need no escaping; otherwise
 * through /proc/self/fd, which is short: 130 plain paths would already overflow the page. The
 * descriptors stay open until exec.
 */
static int lower_option(const struct list *lower_dirs, char *options, size_t size,
                        struct skep_error *err) {
  size_t plain_length = 0;
  bool plain = true;
  struct reader cursor = lower_dirs->cursor;
  for (uint32_t i = 0; i < lower_dirs->count; i++) {
    const char *path = read_str(&cursor);
    plain = plain && plain_in_options(path);
    plain_length += strlen(path) + 1;
  }
  plain = plain && plain_length < size - 64;
  size_t used = (size_t)snprintf(options, size, "lowerdir=");
  cursor = lower_dirs->cursor;
  for (uint32_t i = 0; i < lower_dirs->count; i++) {
    const char *path = read_str(&cursor);
    char short_path[FD_PATH_MAX];
    if (!plain) {
      int fd = RETRY(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (fd < 0) return fail(err, "open", "image layer %s", path);
      fd_path(short_path, fd);
    }
    used += (size_t)snprintf(options + used, size - used, "%s%s", i ? ":" : "",
                             plain ? path : short_path);
    if (used >= size)
      return fail_with(err, E2BIG, "mount", "overlay of %u layers", lower_dirs->count);
  }
  return 0;
}

int mount_overlay(const struct spec *spec, struct skep_error *err) {
  static const char upper[] = ",upperdir=upper,workdir=work";
  char options[OPTIONS_MAX];
  if (lower_option(&spec->lower_dirs, options, sizeof options - sizeof upper, err) < 0) return -1;
  strcat(options, upper);
  if (mount("overlay", "merged", "overlay", 0, options) < 0)
    return fail(err, "mount", "overlay %.150s", options);
  return 0;
}

/* ---- mounts of the spec ---- */

/* Sets attributes without touching the others; falls back to a remount before kernel 5.12. */
static int set_attributes(const char *path, uint64_t attributes, bool recursive) {
  struct skep_mount_attr attr = {.attr_set = attributes};
  int flags = recursive ? SKEP_AT_RECURSIVE : 0;
  if (syscall(NR_MOUNT_SETATTR, AT_FDCWD, path, flags, &attr, sizeof attr) == 0) return 0;
  if (errno != ENOSYS || recursive) return -1;
  unsigned long remount = MS_REMOUNT | MS_BIND;
  if (attributes & SKEP_ATTR_RDONLY) remount |= MS_RDONLY;
  if (attributes & SKEP_ATTR_NOSUID) remount |= MS_NOSUID;
  if (attributes & SKEP_ATTR_NODEV) remount |= MS_NODEV;
  if (attributes & SKEP_ATTR_NOEXEC) remount |= MS_NOEXEC;
  return mount(NULL, path, NULL, remount, NULL);
}

/* `slave`: mounts of the host come with their propagation, which each bind keeps or loses. `detached`: the
 * mount, made already; -1 = it is to be made. */
static int apply_mount(int root, const struct mount_entry *entry, bool slave, int detached,
                       struct skep_error *err) {
  struct stat source;
  enum kind kind = KIND_DIRECTORY;
  char path[FD_PATH_MAX], from[BIND_SOURCE_MAX];
  cleanup_fd int held = -1;
  if (entry->kind != SKEP_MOUNT_FILESYSTEM) {
    if (detached < 0 && bind_source(entry, from, &held) < 0)
      return fail(err, "openat2", "mount source %s", entry->source);
    int found = detached < 0 ? stat(from, &source) : fstat(detached, &source);
    if (found < 0) return fail(err, "stat", "mount source %s", entry->source);
    if (!S_ISDIR(source.st_mode)) kind = KIND_FILE;
  }
  cleanup_fd int target = ensure(root, entry->target, kind, 0);
  if (target < 0) return fail(err, "openat2", "mount target %s", entry->target);
  fd_path(path, target);
  int mounted_there = detached < 0 ? mount(entry->kind == SKEP_MOUNT_FILESYSTEM ? entry->source : from,
                                           path, entry->type,
                                           (unsigned long)entry->flags,
                                           entry->data[0] ? entry->data : NULL)
                                   : detached_attach(detached, target);
  if (mounted_there < 0) return fail(err, "mount", "%s on %s", entry->source, entry->target);
  bool propagates = slave && detached < 0 && entry->kind != SKEP_MOUNT_FILESYSTEM;
  if (entry->attributes == 0 && !propagates) return 0;
  /* The descriptor still means what is now covered: open again to get the new mount. */
  cleanup_fd int mounted = open_inside(root, entry->target);
  if (mounted < 0) return fail(err, "openat2", "mount target %s", entry->target);
  fd_path(path, mounted);
  unsigned long propagation =
      entry->propagation ? (unsigned long)entry->propagation : MS_REC | MS_PRIVATE;
  if (propagates && mount(NULL, path, NULL, propagation, NULL) < 0)
    return fail(err, "mount", "propagation of %s", entry->target);
  if (entry->attributes == 0) return 0;
  if (set_attributes(path, entry->attributes, entry->recursive) < 0)
    return fail(err, "mount_setattr", "%s", entry->target);
  return 0;
}

/* ---- /dev ---- */

static bool is_device(int directory, const char *base, mode_t mode, dev_t number) {
  struct stat status;
  return fstatat(directory, base, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         (status.st_mode & S_IFMT) == (mode & S_IFMT) && status.st_rdev == number;
}

/* One that is there already stays as it is: it may be somebody else's. `detached`: put over it; -1 = made. */
static int make_device(int root, struct reader *cursor, int detached, struct skep_error *err) {
  char path[4096], base[NAME_MAX + 1];
  const char *name = read_str(cursor);
  mode_t mode = (mode_t)read_u32(cursor);
  unsigned major_number = read_u32(cursor), minor_number = read_u32(cursor);
  uid_t uid = read_u32(cursor);
  gid_t gid = read_u32(cursor);
  if (snprintf(path, sizeof path, "%s", name) >= (int)sizeof path)
    return fail_with(err, ENAMETOOLONG, "mknod", "device");
  if (detached >= 0) {
    cleanup_fd int place = ensure(root, path, KIND_FILE, 0);
    if (place < 0) return fail(err, "openat2", "device %s", name);
    return detached_attach(detached, place) < 0 ? fail(err, "move_mount", "device %s", name) : 0;
  }
  split_path(path, base);
  cleanup_fd int directory = ensure(root, path, KIND_DIRECTORY, 0);
  if (directory < 0) return fail(err, "openat2", "device %s", name);
  dev_t number = makedev(major_number, minor_number);
  if (mknodat(directory, base, mode, number) < 0) {
    int cause = errno;
    if (cause == EEXIST && is_device(directory, base, mode, number)) return 0;
    return fail_with(err, cause, "mknod", "%s", name);
  }
  if (fchownat(directory, base, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail(err, "chown", "%s", name);
  return 0;
}

static int make_device_links(int root, struct skep_error *err) {
  static const char *const links[][2] = {{"fd", "/proc/self/fd"},
                                         {"stdin", "/proc/self/fd/0"},
                                         {"stdout", "/proc/self/fd/1"},
                                         {"stderr", "/proc/self/fd/2"},
                                         {"core", "/proc/kcore"},
                                         {"ptmx", "pts/ptmx"}};
  cleanup_fd int dev = ensure(root, "/dev", KIND_DIRECTORY, 0);
  if (dev < 0) return fail(err, "openat2", "/dev");
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlinkat(links[i][1], dev, links[i][0]) < 0 && errno != EEXIST)
      return fail(err, "symlink", "/dev/%s", links[i][0]);
  return 0;
}

/* ---- after pivot_root: only kernel file systems are named, or what the spec's author chose ---- */

static int mask_path(const char *path, struct skep_error *err) {
  struct stat status;
  if (stat(path, &status) < 0) return 0; /* not on this kernel */
  int failed = S_ISDIR(status.st_mode)
                   ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0,nr_inodes=2,mode=755")
                   : mount("/dev/null", path, NULL, MS_BIND, NULL);
  return failed < 0 ? fail(err, "mount", "masked path %s", path) : 0;
}

static int protect_path(const char *path, struct skep_error *err) {
  if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
    if (errno == ENOENT) return 0;
    return fail(err, "mount", "read-only path %s", path);
  }
  if (set_attributes(path, SKEP_ATTR_RDONLY, false) < 0)
    return fail(err, "mount_setattr", "read-only path %s", path);
  return 0;
}

static int write_sysctls(const struct spec *spec, struct skep_error *err) {
  struct reader cursor = spec->sysctls.cursor;
  for (uint32_t i = 0; i < spec->sysctls.count; i++) {
    char path[512];
    const char *name = read_str(&cursor), *value = read_str(&cursor);
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    if (write_file(path, value) < 0) return fail(err, "write", "sysctl %s = %s", name, value);
  }
  return 0;
}

int enter_mapped_root(struct skep_error *err) {
  cleanup_fd int merged = RETRY(open("merged", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (merged < 0) return fail(err, "open", "merged");
  if (detached_attach(DETACHED_ROOT_FD, merged) < 0) return fail(err, "move_mount", "container root");
  return chdir("merged") < 0 ? fail(err, "chdir", "container root") : 0;
}

static int enter_root(struct skep_error *err) {
  if (syscall(SYS_pivot_root, ".", ".") < 0)
    return fail(err, "pivot_root", "%s", errno == EINVAL
                ? "container root: it needs private propagation above it, and no initial ramfs below"
                : "container root");
  /* The old root now lies on top of the new one at the same place. */
  if (umount2(".", MNT_DETACH) < 0) return fail(err, "umount2", "host root");
  if (chdir("/") < 0) return fail(err, "chdir", "/");
  return 0;
}

static int protect_paths(const struct spec *spec, struct skep_error *err) {
  struct reader cursor = spec->masked.cursor;
  for (uint32_t i = 0; i < spec->masked.count; i++)
    if (mask_path(read_str(&cursor), err) < 0) return -1;
  cursor = spec->readonly.cursor;
  for (uint32_t i = 0; i < spec->readonly.count; i++)
    if (protect_path(read_str(&cursor), err) < 0) return -1;
  if (spec->readonly_root && set_attributes("/", SKEP_ATTR_RDONLY, false) < 0)
    return fail(err, "mount_setattr", "/");
  return 0;
}

static bool any_propagates(const struct spec *spec) {
  struct mount_entry entry;
  struct reader cursor = spec->mounts.cursor;
  for (uint32_t i = 0; i < spec->mounts.count; i++) {
    read_mount(&cursor, &entry);
    if (entry.propagation & MS_SLAVE) return true;
  }
  return false;
}

/* Then it may be a directory of the host, and nothing is made in it. */
static bool dev_is_bound(const struct spec *spec) {
  struct mount_entry entry;
  struct reader cursor = spec->mounts.cursor;
  for (uint32_t i = 0; i < spec->mounts.count; i++) {
    read_mount(&cursor, &entry);
    if (entry.kind != SKEP_MOUNT_FILESYSTEM && strcmp(entry.target, "/dev") == 0) return true;
  }
  return false;
}

/* Nothing that is mounted here is seen by the host, but below binds that share: as a slave the tree only receives. */
int build_root(const struct spec *spec, struct skep_error *err) {
  bool slave = any_propagates(spec);
  if (mount(NULL, "/", NULL, MS_REC | (slave ? MS_SLAVE : MS_PRIVATE), NULL) < 0)
    return fail(err, "mount", "propagation of /");
  bool mapped = maps_users(spec);
  if (!mapped && mount_overlay(spec, err) < 0) return -1;
  if (!mapped && chdir("merged") < 0) return fail(err, "chdir", "merged");
  {
    cleanup_fd int root = RETRY(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (root < 0) return fail(err, "open", "merged");
    struct reader cursor = spec->mounts.cursor;
    for (uint32_t i = 0; i < spec->mounts.count; i++) {
      struct mount_entry entry;
      read_mount(&cursor, &entry);
      int detached = is_detached(spec, &entry) ? detached_mount_fd(i) : -1;
      if (apply_mount(root, &entry, slave, detached, err) < 0) return -1;
    }
    cursor = spec->devices.cursor;
    for (uint32_t i = 0; i < spec->devices.count; i++)
      if (make_device(root, &cursor, mapped ? detached_device_fd(spec, i) : -1, err) < 0) return -1;
    if (!dev_is_bound(spec) && make_device_links(root, err) < 0) return -1;
  }
  if (enter_root(err) < 0) return -1;
  if (write_sysctls(spec, err) < 0) return -1;
  return protect_paths(spec, err);
}
