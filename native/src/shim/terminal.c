/* Terminals of a container, and the way of their master out of it. */
#include "terminal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif
#define DEVPTS_MAGIC 0x1cd1
#define PTMX_MAJOR 5
#define PTMX_MINOR 2

/* The container's root may have put anything at this path: believe the device, not the name. */
static bool is_ptmx(int fd) {
  struct stat status;
  struct statfs fs;
  return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
         status.st_rdev == makedev(PTMX_MAJOR, PTMX_MINOR) && fstatfs(fd, &fs) == 0 &&
         fs.f_type == DEVPTS_MAGIC;
}

int terminal_open(uint32_t uid, int *peer, struct skep_error *err) {
  int unlock = 0;
  cleanup_fd int master = RETRY(open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (master < 0) return fail(err, "open", "/dev/pts/ptmx");
  if (!is_ptmx(master)) return fail_with(err, ENODEV, "open", "/dev/pts/ptmx is no terminal");
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return fail(err, "ioctl", "unlock terminal");
  *peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*peer < 0) return fail(err, "ioctl", "open terminal");
  if (fchown(*peer, uid, (gid_t)-1) < 0) return fail(err, "fchown", "terminal");
  int result = master;
  master = -1;
  return result;
}

union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

int terminal_send(int socket_fd, const void *record, size_t length, int descriptor) {
  union control control = {0};
  struct iovec part = {(void *)record, length};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return RETRY(sendmsg(socket_fd, &message, MSG_NOSIGNAL)) < 0 ? -1 : 0;
}

ssize_t terminal_receive(int socket_fd, void *record, size_t length, int *descriptor) {
  union control control = {0};
  struct iovec part = {record, length};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  *descriptor = -1;
  ssize_t n = RETRY(recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC));
  struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header != NULL && header->cmsg_type == SCM_RIGHTS)
    memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  return n;
}
