/*
 * Which packets pass to other hosts unfragmented: ICMP echo requests with the bit that forbids to cut them, many hosts at
 * once. Knows no policy: sizes and time are the caller's.
 */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "lib_clock.h"
#include "lib_error.h"

/* Of linux/icmp.h, which does not go together with netinet's. */
#define ICMP_FILTER 1
#define HEADER_BYTES 8u /* of an echo request, in both families */
#define TOKEN_BYTES 8u
#define PACKET_BYTES_MAX 65535u
/* Answers that come at once: of some hundred hosts with packets of 9,000 bytes. */
#define RECEIVE_BUFFER_BYTES (8 << 20)

struct target {
  struct sockaddr_storage address;
  socklen_t address_bytes;
  uint32_t packet_bytes;
};

struct round {
  int fd4;
  int fd6;
  uint8_t token[TOKEN_BYTES];
  struct target *targets;
  uint32_t count;
  uint8_t *answered;
};

static void free_memory(void *pointer)
{
  free(*(void **)pointer);
}
#define AUTO_FREE __attribute__((cleanup(free_memory)))

static uint16_t checksum(const uint8_t *bytes, uint32_t count)
{
  uint32_t sum = 0;
  for (uint32_t i = 0; i + 1 < count; i += 2)
    sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
  if (count & 1)
    sum += (uint32_t)(bytes[count - 1] << 8);
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

/* PROBE: never cut, and what is remembered of the path does not count. */
static int open_socket(int family, struct skep_error *err)
{
  int six = family == AF_INET6;
  LIB_AUTO_CLOSE int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                 six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
  if (fd < 0)
    return lib_fail(err, errno, "socket", six ? "icmpv6" : "icmp");
  int probe = six ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
  if (setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
                 &probe, sizeof probe) < 0)
    return lib_fail(err, errno, "setsockopt", "mtu discover");
  int yes = 1;
  if (six && setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &yes, sizeof yes) < 0)
    return lib_fail(err, errno, "setsockopt", "dontfrag");
  /* Nothing but answers is to fill the buffer, and more of them than by default. */
  int room = RECEIVE_BUFFER_BYTES;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
    return lib_fail(err, errno, "setsockopt", "rcvbufforce");
  if (six) {
    struct icmp6_filter only;
    ICMP6_FILTER_SETBLOCKALL(&only);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &only);
    if (setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof only) < 0)
      return lib_fail(err, errno, "setsockopt", "icmp6 filter");
  } else {
    uint32_t blocked = ~(1u << ICMP_ECHOREPLY);
    if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &blocked, sizeof blocked) < 0)
      return lib_fail(err, errno, "setsockopt", "icmp filter");
  }
  int kept = fd;
  fd = -1;
  return kept;
}

static int read_target(struct target *target, const char *text, uint32_t packet_bytes)
{
  struct sockaddr_in *four = (struct sockaddr_in *)&target->address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&target->address;
  memset(target, 0, sizeof *target);
  target->packet_bytes = packet_bytes;
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    target->address_bytes = sizeof *four;
    return 0;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
    return -1;
  six->sin6_family = AF_INET6;
  target->address_bytes = sizeof *six;
  return 0;
}

/* What cannot be sent (larger than the link, no route, refused by a rule) is not answered. */
static void send_probe(const struct round *round, uint32_t index, uint8_t *packet)
{
  const struct target *target = &round->targets[index];
  int six = target->address.ss_family == AF_INET6;
  uint32_t outer = six ? 40 : 20;
  uint32_t bytes = target->packet_bytes - outer;
  memset(packet, 0, bytes);
  packet[0] = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  memcpy(packet + 4, round->token, 2);
  packet[6] = (uint8_t)(index >> 8);
  packet[7] = (uint8_t)index;
  memcpy(packet + HEADER_BYTES, round->token, TOKEN_BYTES);
  if (!six) {
    uint16_t sum = checksum(packet, bytes); /* of ICMPv6 the kernel makes it */
    packet[2] = (uint8_t)(sum >> 8);
    packet[3] = (uint8_t)sum;
  }
  (void)LIB_RETRY(sendto(six ? round->fd6 : round->fd4, packet, bytes, 0,
                         (const struct sockaddr *)&target->address, target->address_bytes));
}

/* Notes the answers that are there; returns how many were new. */
static uint32_t read_answers(const struct round *round, int six, uint8_t *packet)
{
  uint32_t fresh = 0;
  for (;;) {
    ssize_t got = LIB_RETRY(recv(six ? round->fd6 : round->fd4, packet, PACKET_BYTES_MAX, 0));
    if (got < 0)
      return fresh; /* no more, or an error that a probe of ours met on its way */
    uint32_t skip = six ? 0 : (uint32_t)(packet[0] & 15) * 4;
    if ((size_t)got < skip + HEADER_BYTES + TOKEN_BYTES)
      continue;
    const uint8_t *reply = packet + skip;
    if (reply[0] != (six ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) ||
        memcmp(reply + HEADER_BYTES, round->token, TOKEN_BYTES) != 0)
      continue;
    uint32_t index = (uint32_t)(reply[6] << 8 | reply[7]);
    if (index >= round->count || round->answered[index])
      continue;
    round->answered[index] = 1;
    fresh++;
  }
}

static uint32_t wait_answers(const struct round *round, int64_t until_ms, uint32_t wanted,
                             uint8_t *packet)
{
  uint32_t answered = 0;
  while (answered < wanted) {
    int64_t left = until_ms - lib_now_ms();
    if (left <= 0)
      break;
    struct pollfd fds[] = { { .fd = round->fd4, .events = POLLIN },
                            { .fd = round->fd6, .events = POLLIN } };
    if (LIB_RETRY(poll(fds, 2, (int)left)) <= 0)
      break;
    if (fds[0].revents)
      answered += read_answers(round, 0, packet);
    if (fds[1].revents)
      answered += read_answers(round, 1, packet);
  }
  return answered;
}

int skep_probe_paths(const char *addresses, const uint8_t *packet_bytes, uint32_t count,
                     int32_t timeout_ms, uint8_t *answered, struct skep_error *err)
{
  LIB_AUTO_CLOSE int fd4 = -1;
  LIB_AUTO_CLOSE int fd6 = -1;
  if (count > UINT16_MAX)
    return lib_fail(err, E2BIG, "probe", "too many hosts");
  AUTO_FREE struct target *targets = calloc(count ? count : 1, sizeof *targets);
  AUTO_FREE uint8_t *packet = malloc(PACKET_BYTES_MAX);
  if (!targets || !packet)
    return lib_fail(err, ENOMEM, "malloc", "probes");
  for (uint32_t i = 0; i < count; i++) {
    char text[INET6_ADDRSTRLEN + 1];
    const char *end = strchrnul(addresses, '\n');
    snprintf(text, sizeof text, "%.*s", (int)(end - addresses), addresses);
    addresses = *end ? end + 1 : end;
    uint32_t bytes;
    memcpy(&bytes, packet_bytes + i * sizeof bytes, sizeof bytes);
    if (bytes < 40 + HEADER_BYTES + TOKEN_BYTES || bytes > PACKET_BYTES_MAX ||
        read_target(&targets[i], text, bytes) < 0)
      return lib_fail(err, EINVAL, "probe", text);
    int *fd = targets[i].address.ss_family == AF_INET6 ? &fd6 : &fd4;
    if (*fd < 0 && (*fd = open_socket(targets[i].address.ss_family, err)) < 0)
      return -1;
  }
  struct round round = { .fd4 = fd4, .fd6 = fd6, .targets = targets, .count = count,
                         .answered = answered };
  if (getrandom(round.token, TOKEN_BYTES, 0) != TOKEN_BYTES)
    return lib_fail(err, errno, "getrandom", "");
  memset(answered, 0, count);
  int64_t start = lib_now_ms();
  uint32_t missing = count;
  /* Twice: a single packet may be lost on a path that is good. */
  for (int attempt = 1; attempt <= 2 && missing > 0; attempt++) {
    for (uint32_t i = 0; i < count; i++) {
      if (answered[i])
        continue;
      send_probe(&round, i, packet);
      missing -= read_answers(&round, targets[i].address.ss_family == AF_INET6, packet);
    }
    missing -= wait_answers(&round, start + (int64_t)timeout_ms * attempt / 2, missing, packet);
  }
  return 0;
}
