/*
 * Work inside another network namespace: making and pinning one, sockets bound there, sysctl files.
 * Each call runs on a thread of its own that ends afterwards: setns on a thread that lives on would
 * leak the namespace into whatever runs there next. Knows nothing of what the namespaces are for.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib_error.h"

struct ns_job {
  const char *ns_path; /* "" = the caller's own namespace */
  int (*work)(struct ns_job *job);
  const char *path;
  const char *value;
  int domain, type, protocol;
  uint16_t port;
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

static int socket_work(struct ns_job *job)
{
  int fd = socket(job->domain, job->type | SOCK_CLOEXEC, job->protocol);
  return fd < 0 ? lib_fail(job->err, errno, "socket", job->ns_path) : fd;
}

int skep_netns_netlink(const char *ns_path, int32_t protocol, struct skep_error *err)
{
  struct ns_job job = { .ns_path = ns_path, .work = socket_work, .domain = AF_NETLINK,
                        .type = SOCK_RAW, .protocol = protocol, .err = err };
  int result = run_in_ns(&job);
  if (result < 0)
    return result;
  LIB_AUTO_CLOSE int fd = result;
  int one = 1;
  /* NETLINK_CAP_ACK: an error answers with the header only, not with our whole request. */
  if (setsockopt(fd, SOL_NETLINK, 10, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "NETLINK_CAP_ACK");
  if (setsockopt(fd, SOL_NETLINK, 11, &one, sizeof one) < 0)
    return lib_fail(err, errno, "setsockopt", "NETLINK_EXT_ACK");
  int bytes = 4 << 20; /* a large batch and its answers at once; root may exceed the system's limit */
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  fd = -1;
  return result;
}

int skep_netns_listen(const char *ns_path, int32_t protocol, uint32_t groups, struct skep_error *err)
{
  struct ns_job job = { .ns_path = ns_path, .work = socket_work, .domain = AF_NETLINK,
                        .type = SOCK_RAW, .protocol = protocol, .err = err };
  int result = run_in_ns(&job);
  if (result < 0)
    return result;
  LIB_AUTO_CLOSE int fd = result;
  int bytes = 4096; /* that something came is all that is asked of it */
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0)
    return lib_fail(err, errno, "setsockopt", "SO_RCVBUF");
  struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
    return lib_fail(err, errno, "bind", "netlink groups");
  fd = -1;
  return result;
}

static int bound_work(struct ns_job *job)
{
  struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(job->port) };
  struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(job->port) };
  int is_six = inet_pton(AF_INET6, job->value, &six.sin6_addr) == 1;
  if (!is_six && inet_pton(AF_INET, job->value, &four.sin_addr) != 1)
    return lib_fail(job->err, EINVAL, "inet_pton", job->value);
  const struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
  socklen_t address_bytes = is_six ? sizeof six : sizeof four;
  LIB_AUTO_CLOSE int fd =
      socket(is_six ? AF_INET6 : AF_INET, job->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return lib_fail(job->err, errno, "socket", job->ns_path);
  int one = 1;
  /* `::` is for IPv6 alone: who wants both families binds twice. */
  if (is_six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0)
    return lib_fail(job->err, errno, "setsockopt", "IPV6_V6ONLY");
  /* Not for datagrams: there it would let two sockets share one address silently. */
  if (job->type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
    return lib_fail(job->err, errno, "setsockopt", "SO_REUSEADDR");
  if (bind(fd, address, address_bytes) < 0)
    return lib_fail(job->err, errno, "bind", job->value);
  int result = fd;
  fd = -1;
  return result;
}

int skep_netns_bind(const char *ns_path, int32_t stream, const char *address, uint16_t port,
                    struct skep_error *err)
{
  struct ns_job job = { .ns_path = ns_path, .work = bound_work, .value = address, .port = port,
                        .type = stream ? SOCK_STREAM : SOCK_DGRAM, .err = err };
  return run_in_ns(&job);
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

static int sysctl_work(struct ns_job *job)
{
  char path[256];
  for (const char *cursor = job->value; *cursor;) {
    const char *equals = strchr(cursor, '=');
    const char *end = strchrnul(cursor, '\n');
    char value[64];
    if (!equals || equals > end)
      return lib_fail(job->err, EINVAL, "sysctl", cursor);
    snprintf(path, sizeof path, "/proc/sys/net/%.*s", (int)(equals - cursor), cursor);
    snprintf(value, sizeof value, "%.*s", (int)(end - equals - 1), equals + 1);
    /* ENOENT: a kernel without that part (IPv6 off): nothing to set. */
    if (write_file(path, value, job->err) < 0 && job->err->errno_value != ENOENT)
      return -1;
    cursor = *end ? end + 1 : end;
  }
  return 0;
}

int skep_netns_sysctl(const char *ns_path, const char *settings, struct skep_error *err)
{
  struct ns_job job = { .ns_path = ns_path, .work = sysctl_work, .value = settings, .err = err };
  return run_in_ns(&job);
}

int skep_fd_close(int32_t fd, struct skep_error *err)
{
  /* EINTR: Linux has released the descriptor all the same. */
  return close(fd) < 0 && errno != EINTR ? lib_fail(err, errno, "close", "descriptor") : 0;
}
