/*
 * Several small files of the kernel's in one call: statistics of hundreds of groups every second are
 * mostly system calls, and each through `fs` costs as much again.
 */
#include <fcntl.h>

#include "lib_error.h"

int skep_read_files(const char *paths, uint32_t count, uint8_t *out, uint32_t capacity,
                    struct skep_error *err)
{
  uint32_t used = 0;
  for (uint32_t i = 0; i < count; i++, paths += strlen(paths) + 1) {
    uint32_t length = SKEP_NO_FILE, at = used + sizeof length;
    if (at > capacity)
      return lib_fail(err, ENOBUFS, "read", paths);
    LIB_AUTO_CLOSE int fd = (int)LIB_RETRY(open(paths, O_RDONLY | O_CLOEXEC));
    if (fd < 0 && errno != ENOENT)
      return lib_fail(err, errno, "open", paths);
    ssize_t n = 0;
    if (fd >= 0)
      length = 0;
    /* A file of the kernel's comes whole when there is room, but of a size it does not tell. */
    while (fd >= 0 && (n = LIB_RETRY(read(fd, out + at + length, capacity - at - length))) > 0) {
      length += (uint32_t)n;
      if (at + length == capacity)
        return lib_fail(err, ENOBUFS, "read", paths);
    }
    if (n < 0 && errno != ENODEV && errno != ESRCH) /* the group, or the process, is just going */
      return lib_fail(err, errno, "read", paths);
    if (n < 0)
      length = SKEP_NO_FILE;
    memcpy(out + used, &length, sizeof length);
    used = at + (length == SKEP_NO_FILE ? 0 : length);
  }
  return (int)used;
}
