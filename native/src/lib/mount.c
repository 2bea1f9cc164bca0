/* One mount(2), which may wait for a server: on a thread of the caller's choice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "skep.h"

int skep_mount(const char *source, const char *target, const char *type, uint64_t flags,
               const char *data, struct skep_error *err) {
  if (mount(source, target, type, (unsigned long)flags, data[0] ? data : NULL) == 0) return 0;
  memset(err, 0, sizeof *err);
  err->errno_value = errno;
  snprintf(err->syscall, sizeof err->syscall, "mount");
  snprintf(err->detail, sizeof err->detail, "%.100s (%.20s)", source, type);
  return -1;
}
