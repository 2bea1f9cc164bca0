/* The clock by which libskep waits. */
#ifndef SKEP_LIB_CLOCK_H
#define SKEP_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic, milliseconds. */
static inline int64_t lib_now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
