/*
 * Files that are written, and trees that are removed, in one call each: through `fs` every step of it is a
 * turn on another thread, which costs more than the step.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib_error.h"

int skep_replace_file(const char *path, const char *unfinished, const uint8_t *bytes, uint32_t count,
                      uint32_t mode, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd =
      (int)LIB_RETRY(open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (fd < 0)
    return lib_fail(err, errno, "open", unfinished);
  for (uint32_t at = 0; at < count;) {
    ssize_t n = LIB_RETRY(write(fd, bytes + at, count - at));
    if (n < 0)
      return lib_fail(err, errno, "write", unfinished);
    at += (uint32_t)n;
  }
  return rename(unfinished, path) < 0 ? lib_fail(err, errno, "rename", path) : 0;
}

enum { DEPTH_MAX = 32 };

struct removal {
  int root;
  uint32_t left; /* entries that may still be removed */
  struct skep_error *err;
};

static int empty(struct removal *removal, int fd, int depth);

/* Tasks make trees of any depth: what lies deep is moved up, so that few directories are open at once. */
static int move_up(struct removal *removal, int fd, int child, const char *name)
{
  struct stat status;
  char above[32];
  if (fstat(child, &status) < 0)
    return lib_fail(removal->err, errno, "fstat", name);
  snprintf(above, sizeof above, ".deep-%llu", (unsigned long long)status.st_ino);
  if (renameat(fd, name, removal->root, above) < 0)
    return lib_fail(removal->err, errno, "renameat", name);
  return 0;
}

/* 0 = it is gone, 1 = something of it may be left. */
static int remove_entry(struct removal *removal, int fd, const struct dirent *entry, int depth)
{
  const char *name = entry->d_name;
  int child = -1, flags = 0;
  if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
    child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (child >= 0 && depth == DEPTH_MAX) {
    int result = move_up(removal, fd, child, name);
    close(child);
    return result < 0 ? -1 : 1;
  }
  if (child >= 0) {
    int result = empty(removal, child, depth + 1);
    if (result != 0)
      return result;
    flags = AT_REMOVEDIR;
  }
  if (unlinkat(fd, name, flags) == 0 || errno == ENOENT)
    return 0;
  /* Somebody made a file there meanwhile. */
  return errno == ENOTEMPTY ? 1 : lib_fail(removal->err, errno, "unlinkat", name);
}

/* What is in the directory `fd`, which it closes. As `remove_entry`. */
static int empty(struct removal *removal, int fd, int depth)
{
  DIR *directory = fdopendir(fd);
  if (directory == NULL) {
    int failure = errno;
    close(fd);
    return lib_fail(removal->err, failure, "fdopendir", "directory");
  }
  int result = 0, is_whole = 1;
  struct dirent *entry;
  while (result >= 0 && removal->left > 0 && (errno = 0, entry = readdir(directory)) != NULL) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
      continue;
    removal->left--;
    result = remove_entry(removal, fd, entry, depth);
    if (result > 0)
      is_whole = 0;
  }
  if (result >= 0 && removal->left > 0 && errno != 0)
    result = lib_fail(removal->err, errno, "readdir", "directory");
  else if (result >= 0)
    result = !is_whole || removal->left == 0;
  closedir(directory);
  return result;
}

int skep_remove_tree(const char *path, uint32_t entries_max, struct skep_error *err)
{
  LIB_AUTO_CLOSE int root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0)
    return errno == ENOENT ? 0 : lib_fail(err, errno, "open", path);
  struct removal removal = { .root = root, .left = entries_max, .err = err };
  int walked = fcntl(root, F_DUPFD_CLOEXEC, 0);
  if (walked < 0)
    return lib_fail(err, errno, "fcntl", path);
  int result = empty(&removal, walked, 0);
  if (result == 0 && rmdir(path) < 0 && errno != ENOENT)
    return errno == ENOTEMPTY ? 1 : lib_fail(err, errno, "rmdir", path);
  return result;
}
