/* One mount(2), which may wait for a server: on a thread of the caller's choice. */
#include <sys/mount.h>

#include "lib_error.h"

int skep_mount(const char *source, const char *target, const char *type, uint64_t flags,
               const char *data, struct skep_error *err) {
  if (mount(source, target, type, (unsigned long)flags, data[0] ? data : NULL) == 0) return 0;
  int value = errno;
  char what[sizeof err->detail];
  snprintf(what, sizeof what, "%.100s (%.20s)", source, type);
  return lib_fail(err, value, "mount", what);
}
