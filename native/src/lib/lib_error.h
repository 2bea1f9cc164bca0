/* Fills a skep_error from errno. Private to libskep; knows no policy. */
#ifndef SKEP_LIB_ERROR_H
#define SKEP_LIB_ERROR_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "skep.h"

/* Records `value` (an errno) as the reason why `call` on `detail` failed; returns -1. */
static inline int lib_fail(struct skep_error *err, int value, const char *call, const char *detail)
{
  err->errno_value = value;
  snprintf(err->syscall, sizeof err->syscall, "%.27s", call);
  snprintf(err->detail, sizeof err->detail, "%.223s", detail ? detail : "");
  return -1;
}

/* Closes the descriptor at scope exit; set it to -1 to keep it. */
static inline void lib_close_fd(int *fd)
{
  if (*fd >= 0)
    close(*fd);
}
#define LIB_AUTO_CLOSE __attribute__((cleanup(lib_close_fd)))

#define LIB_RETRY(expression)                                     \
  ({                                                              \
    long result_;                                                 \
    do                                                            \
      result_ = (long)(expression);                               \
    while (result_ == -1 && errno == EINTR);                      \
    result_;                                                      \
  })

#endif
