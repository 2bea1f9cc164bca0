/*
 * Work inside another network namespace: making and pinning one, and what is done on a visit: sockets
 * bound there, sysctl files. Each call runs on a thread of its own that ends afterwards: setns on a
 * thread that lives on would leak the namespace into whatever runs there next. Knows nothing of what
 * the namespaces are for.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib_error.h"

struct ns_job {
  const char *ns_path; /* "" = the caller's own namespace */
  int (*work)(struct ns_job *job);
  const char *path;  /* of `create_work` */
  const char *steps; /* of `visit_work` */
  int32_t *fds;
  uint32_t capacity, count;
  int result;
  struct skep_error *err;
};

static int enter(const char *ns_path, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = LIB_RETRY(open(ns_path, O_RDONLY | O_CLOEXEC));
  if (fd < 0)
    return lib_fail(err, errno, "open", ns_path);
  if (setns(fd, CLONE_NEWNET) < 0)
    return lib_fail(err, errno, "setns", ns_path);
  return 0;
}

static void *ns_thread(void *arg)
{
  struct ns_job *job = arg;
  job->result = job->ns_path[0] && enter(job->ns_path, job->err) < 0 ? -1 : job->work(job);
  return NULL;
}

static int run_in_ns(struct ns_job *job)
{
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  int failure = pthread_create(&thread, &attributes, ns_thread, job);
  pthread_attr_destroy(&attributes);
  if (failure)
    return lib_fail(job->err, failure, "pthread_create", "namespace thread");
  pthread_join(thread, NULL);
  return job->result;
}

static int create_work(struct ns_job *job)
{
  if (unshare(CLONE_NEWNET) < 0)
    return lib_fail(job->err, errno, "unshare", "CLONE_NEWNET");
  if (mount("/proc/thread-self/ns/net", job->path, NULL, MS_BIND, NULL) < 0)
    return lib_fail(job->err, errno, "mount", job->path);
  return 0;
}

int skep_netns_create(const char *path, struct skep_error *err)
{
  int file = LIB_RETRY(open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file < 0)
    return lib_fail(err, errno, "open", path);
  close(file);
  struct ns_job job = { .ns_path = "", .work = create_work, .path = path, .err = err };
  int result = run_in_ns(&job);
  if (result < 0)
    unlink(path);
  return result;
}

int skep_netns_remove(const char *path, struct skep_error *err)
{
  /* EINVAL: a plain file, its mount is gone already. */
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
    return lib_fail(err, errno, "umount2", path);
  if (unlink(path) < 0 && errno != ENOENT)
    return lib_fail(err, errno, "unlink", path);
  return 0;
}

static int up_step(const char *name, struct skep_error *err)
{
  struct ifreq link = { 0 };
  snprintf(link.ifr_name, sizeof link.ifr_name, "%.15s", name);
  LIB_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return lib_fail(err, errno, "socket", name);
  if (ioctl(fd, SIOCGIFFLAGS, &link) < 0)
    return lib_fail(err, errno, "SIOCGIFFLAGS", name);
  link.ifr_flags |= IFF_UP;
  return ioctl(fd, SIOCSIFFLAGS, &link) < 0 ? lib_fail(err, errno, "SIOCSIFFLAGS", name) : 0;
}

static int netlink_step(int protocol, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0)
    return lib_fail(err, errno, "socket", "netlink");
  int one = 1;
  /* NETLINK_CAP_ACK: an error answers with the header only, not with our whole request. */
  if (setsockopt(fd, SOL_NETLINK, 10, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "NETLINK_CAP_ACK");
  if (setsockopt(fd, SOL_NETLINK, 11, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "NETLINK_EXT_ACK");
  int bytes = 4 << 20; /* a large batch and its answers at once; root may exceed the system's limit */
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  int result = fd;
  fd = -1;
  return result;
}

static int listen_step(int protocol, uint32_t groups, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0)
    return lib_fail(err, errno, "socket", "netlink groups");
  int bytes = 4096; /* that something came is all that is asked of it */
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0)
    return lib_fail(err, errno, "setsockopt", "SO_RCVBUF");
  struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
    return lib_fail(err, errno, "bind", "netlink groups");
  int result = fd;
  fd = -1;
  return result;
}

static int bind_step(int type, const char *text, uint16_t port, struct skep_error *err)
{
  struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
  struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
  int is_six = inet_pton(AF_INET6, text, &six.sin6_addr) == 1;
  if (!is_six && inet_pton(AF_INET, text, &four.sin_addr) != 1)
    return lib_fail(err, EINVAL, "inet_pton", text);
  const struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
  socklen_t address_bytes = is_six ? sizeof six : sizeof four;
  LIB_AUTO_CLOSE int fd =
      socket(is_six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return lib_fail(err, errno, "socket", text);
  int one = 1;
  /* `::` is for IPv6 alone: who wants both families binds twice. */
  if (is_six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "IPV6_V6ONLY");
  /* Not for datagrams: there it would let two sockets share one address silently. */
  if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "SO_REUSEADDR");
  if (bind(fd, address, address_bytes) < 0)
    return lib_fail(err, errno, "bind", text);
  int result = fd;
  fd = -1;
  return result;
}

static int write_file(const char *path, const char *value, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd = LIB_RETRY(open(path, O_WRONLY | O_CLOEXEC));
  if (fd < 0)
    return lib_fail(err, errno, "open", path);
  if (LIB_RETRY(write(fd, value, strlen(value))) < 0)
    return lib_fail(err, errno, "write", path);
  return 0;
}

static int set_step(const char *name, const char *value, struct skep_error *err)
{
  char path[256];
  snprintf(path, sizeof path, "/proc/sys/net/%s", name);
  /* ENOENT: a kernel without that part (IPv6 off): nothing to set. */
  return write_file(path, value, err) < 0 && err->errno_value != ENOENT ? -1 : 0;
}

enum { NOTHING_KEPT = -2 };

/* A descriptor, NOTHING_KEPT, or -1 with *err filled. */
static int step(const char *line, struct skep_error *err)
{
  char word[192], value[64];
  int protocol;
  uint32_t groups;
  uint16_t port;
  if (sscanf(line, "netlink %d", &protocol) == 1)
    return netlink_step(protocol, err);
  if (sscanf(line, "listen %d %u", &protocol, &groups) == 2)
    return listen_step(protocol, groups, err);
  if (sscanf(line, "udp %191s %hu", word, &port) == 2)
    return bind_step(SOCK_DGRAM, word, port, err);
  if (sscanf(line, "tcp %191s %hu", word, &port) == 2)
    return bind_step(SOCK_STREAM, word, port, err);
  if (sscanf(line, "up %191s", word) == 1)
    return up_step(word, err) < 0 ? -1 : NOTHING_KEPT;
  if (sscanf(line, "set %191[^=]=%63[^\n]", word, value) == 2)
    return set_step(word, value, err) < 0 ? -1 : NOTHING_KEPT;
  return lib_fail(err, EINVAL, "visit", line);
}

static int visit_work(struct ns_job *job)
{
  char line[288];
  for (const char *cursor = job->steps; *cursor;) {
    const char *end = strchrnul(cursor, '\n');
    snprintf(line, sizeof line, "%.*s", (int)(end - cursor), cursor);
    int result = step(line, job->err);
    if (result == -1)
      return -1;
    if (result >= 0 && job->count == job->capacity) {
      close(result);
      return lib_fail(job->err, ENOBUFS, "visit", line);
    }
    if (result >= 0)
      job->fds[job->count++] = result;
    cursor = *end ? end + 1 : end;
  }
  return 0;
}

int skep_netns_visit(const char *ns_path, const char *steps, int32_t *fds, uint32_t capacity,
                     struct skep_error *err)
{
  struct ns_job job = { .ns_path = ns_path, .work = visit_work, .steps = steps, .fds = fds,
                        .capacity = capacity, .err = err };
  if (run_in_ns(&job) == 0)
    return (int)job.count;
  while (job.count > 0)
    close(fds[--job.count]);
  return -1;
}

int skep_fd_close(int32_t fd, struct skep_error *err)
{
  /* EINTR: Linux has released the descriptor all the same. */
  return close(fd) < 0 && errno != EINTR ? lib_fail(err, errno, "close", "descriptor") : 0;
}
