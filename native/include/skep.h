/*
 * Public surface of libskep.so, the part of skep that must be C: what runs between clone and exec,
 * what enters another namespace, and one system call wrapper for netlink. No global state; no policy.
 *
 * Every call returns 0, a file descriptor or a pid; or -1 with *err filled. Names and order are the
 * same here and in native/ffi.
 */
#ifndef SKEP_H
#define SKEP_H

#include <stddef.h>
#include <stdint.h>

/* Why a call failed. Filled only when the call returned -1. */
struct skep_error {
  int32_t errno_value;  /* errno at the failure; 0 when no system call failed */
  char syscall[28];     /* name of the failing call, NUL-terminated */
  char detail[224];     /* what it was applied to, NUL-terminated */
};
_Static_assert(sizeof(struct skep_error) == 256, "skep_error is mirrored in native/ffi/library.ts");

#endif
