/*
 * One netlink exchange: send a buffer of messages, collect the answers until the last one is
 * acknowledged. Knows the framing only; the messages are built and read in TypeScript.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "lib_clock.h"
#include "lib_error.h"

/* True when `bytes` hold the end of the exchange: an acknowledgement, error or DONE for `last_seq`. */
static int ends_exchange(const uint8_t *buffer, size_t bytes, uint32_t last_seq)
{
  const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
  for (size_t left = bytes; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
    if (message->nlmsg_seq == last_seq &&
        (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE))
      return 1;
  return 0;
}

static int send_all(int fd, const uint8_t *request, uint32_t bytes, struct skep_error *err)
{
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  ssize_t sent = LIB_RETRY(sendto(fd, request, bytes, 0, (struct sockaddr *)&kernel, sizeof kernel));
  if (sent < 0)
    return lib_fail(err, errno, "sendto", "netlink");
  if ((uint32_t)sent != bytes)
    return lib_fail(err, EMSGSIZE, "sendto", "netlink: request was cut");
  return 0;
}

/* Answers of an exchange that ran into its time limit would be taken for those of the next. */
static void drain(int fd)
{
  uint8_t waste[4096];
  while (recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0)
    ;
}

/* Answers are added to `reply` until the message with `last_seq` is acknowledged, failed or DONE. */
static int collect(int fd, uint32_t last_seq, uint8_t *reply, uint32_t reply_capacity, uint32_t *used,
                   int32_t timeout_ms, struct skep_error *err)
{
  int64_t deadline = lib_now_ms() + timeout_ms;
  for (;;) {
    int64_t left = deadline - lib_now_ms();
    struct pollfd waiting = { .fd = fd, .events = POLLIN };
    int ready = left > 0 ? (int)LIB_RETRY(poll(&waiting, 1, (int)left)) : 0;
    if (ready < 0)
      return lib_fail(err, errno, "poll", "netlink");
    if (ready == 0)
      return lib_fail(err, ETIMEDOUT, "recv", "netlink: no answer in time");
    ssize_t size = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
      continue;
    if (size < 0)
      return lib_fail(err, errno, "recv", "netlink");
    if ((size_t)size > reply_capacity - *used)
      return lib_fail(err, EMSGSIZE, "recv", "netlink: answer is larger than the buffer");
    ssize_t got = recv(fd, reply + *used, reply_capacity - *used, MSG_DONTWAIT);
    if (got < 0)
      return lib_fail(err, errno, "recv", "netlink");
    int ended = ends_exchange(reply + *used, got, last_seq);
    *used += (got + 3) & ~3u;
    if (ended)
      return 0;
  }
}

int skep_nl_transact(int32_t fd, const uint8_t *request, uint32_t request_bytes, uint32_t last_seq,
                     uint8_t *reply, uint32_t reply_capacity, int32_t timeout_ms,
                     struct skep_error *err)
{
  uint32_t used = 0;
  drain(fd);
  if (send_all(fd, request, request_bytes, err) < 0 ||
      collect(fd, last_seq, reply, reply_capacity, &used, timeout_ms, err) < 0)
    return -1;
  return (int)used;
}

int skep_nl_ask(int32_t fd, const uint8_t *requests, uint32_t bytes, uint8_t *reply,
                uint32_t reply_capacity, int32_t timeout_ms, struct skep_error *err)
{
  uint32_t used = 0;
  size_t left = bytes;
  drain(fd);
  for (const struct nlmsghdr *message = (const struct nlmsghdr *)requests; NLMSG_OK(message, left);
       message = NLMSG_NEXT(message, left))
    if (send_all(fd, (const uint8_t *)message, message->nlmsg_len, err) < 0 ||
        collect(fd, message->nlmsg_seq, reply, reply_capacity, &used, timeout_ms, err) < 0)
      return -1;
  return (int)used;
}

int skep_nl_heard(int32_t fd, struct skep_error *err)
{
  uint8_t waste[4096];
  int heard = 0;
  /* ENOBUFS is told once per overflow: something came, and was lost. */
  while (recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0 || errno == EINTR || errno == ENOBUFS)
    heard = 1;
  return errno == EAGAIN ? heard : lib_fail(err, errno, "recv", "netlink groups");
}
