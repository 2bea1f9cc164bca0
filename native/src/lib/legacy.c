/*
 * The tables of iptables-legacy (ip_tables, ip6_tables) in the caller's namespace, as bytes: read and replaced as a whole, which
 * is all that the kernel offers. What is in them is built and read in TypeScript.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>

#include "lib_error.h"

/* Of both families alike: IPT_SO_* and IP6T_SO_* of linux/netfilter_ipv{4,6}. */
#define GET_INFO 64
#define GET_ENTRIES 65
#define SET_REPLACE 64
#define SET_ADD_COUNTERS 65
/* Who changes a table holds the lock for milliseconds, and a script of many changes lets go of it between them. */
#define LOCK_TRIES 50
#define LOCK_PAUSE_NS (20 * 1000 * 1000)
#define COUNTERS_AT 88 /* the pointer in struct ipt_replace and ip6t_replace */

static int raw_socket(int32_t family, struct skep_error *err)
{
  int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  return fd < 0 ? lib_fail(err, errno, "socket", "raw") : fd;
}

static int level(int32_t family)
{
  return family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

static int get(int32_t family, int option, uint8_t *bytes, uint32_t count, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = raw_socket(family, err);
  if (fd < 0)
    return -1;
  socklen_t length = count;
  if (getsockopt(fd, level(family), option, bytes, &length) < 0)
    return lib_fail(err, errno, "getsockopt", "legacy table");
  return 0;
}

int skep_legacy_info(int32_t family, uint8_t *info, uint32_t count, struct skep_error *err)
{
  return get(family, GET_INFO, info, count, err);
}

int skep_legacy_entries(int32_t family, uint8_t *entries, uint32_t count, struct skep_error *err)
{
  return get(family, GET_ENTRIES, entries, count, err);
}

int skep_legacy_replace(int32_t family, uint8_t *table, uint32_t count, uint8_t *counters,
                        struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = raw_socket(family, err);
  if (fd < 0)
    return -1;
  if (count < COUNTERS_AT + sizeof counters)
    return lib_fail(err, EINVAL, "setsockopt", "legacy table");
  memcpy(table + COUNTERS_AT, &counters, sizeof counters);
  if (setsockopt(fd, level(family), SET_REPLACE, table, count) < 0)
    return lib_fail(err, errno, "setsockopt", "legacy table");
  return 0;
}

int skep_legacy_add_counters(int32_t family, const uint8_t *counters, uint32_t count,
                             struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = raw_socket(family, err);
  if (fd < 0)
    return -1;
  if (setsockopt(fd, level(family), SET_ADD_COUNTERS, counters, count) < 0)
    return lib_fail(err, errno, "setsockopt", "legacy counters");
  return 0;
}

int skep_legacy_lock(const char *path, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = LIB_RETRY(open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  if (fd < 0)
    return lib_fail(err, errno, "open", path);
  for (int tries = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
    if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
      return lib_fail(err, errno, "flock", path);
    struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    nanosleep(&pause, NULL);
  }
  int kept = fd;
  fd = -1;
  return kept;
}
