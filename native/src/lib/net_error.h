/* Fills a skep_error from errno. Private to the network part of libskep; knows no policy. */
#ifndef SKEP_NET_ERROR_H
#define SKEP_NET_ERROR_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "skep.h"

/* Records `value` (an errno) as the reason why `call` on `detail` failed; returns -1. */
static inline int net_fail(struct skep_error *err, int value, const char *call, const char *detail)
{
  err->errno_value = value;
  snprintf(err->syscall, sizeof err->syscall, "%.27s", call);
  snprintf(err->detail, sizeof err->detail, "%.223s", detail ? detail : "");
  return -1;
}

/* Closes the descriptor at scope exit; set it to -1 to keep it. */
static inline void net_close_fd(int *fd)
{
  if (*fd >= 0)
    close(*fd);
}
#define NET_AUTO_CLOSE __attribute__((cleanup(net_close_fd)))

#define NET_RETRY(expression)                                     \
  ({                                                              \
    long result_;                                                 \
    do                                                            \
      result_ = (long)(expression);                               \
    while (result_ == -1 && errno == EINTR);                      \
    result_;                                                      \
  })

#endif
