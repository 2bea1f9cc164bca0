#include "launch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 5

/*
 * A new network namespace takes the kernel about as long as all the mounts of a container. -1: none, the
 * init makes its own.
 */
static int make_netns(void) {
  static const char path[] = "/proc/self/ns/net";
  struct skep_error err;
  cleanup_fd int own = RETRY(open(path, O_RDONLY | O_CLOEXEC));
  if (own < 0 || unshare(CLONE_NEWNET) < 0) return -1;
  int made = bring_loopback_up(&err) < 0 ? -1 : RETRY(open(path, O_RDONLY | O_CLOEXEC));
  if (setns(own, CLONE_NEWNET) < 0) _exit(1);
  return made;
}

int launch_stand_by(struct shim *shim, struct skep_error *err) {
  sigset_t signals;
  setsid();
  prctl(PR_SET_NAME, "skep-shim", 0, 0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  signal(SIGPIPE, SIG_IGN);
  sigfillset(&signals); /* nothing but SIGKILL ends the parent of a running container */
  sigprocmask(SIG_SETMASK, &signals, NULL);
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  shim->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (shim->signal_fd < 0) return fail(err, "signalfd", "SIGCHLD");
  shim->container.netns_fd = make_netns();
  return 0;
}

/* The payload of the next frame, which must be of this type, with a NUL behind it. Ends the shim when the
 * daemon is gone or has no use for it. */
static uint8_t *read_frame(int fd, uint8_t type, size_t *length, struct skep_error *err) {
  uint8_t header[HEADER_BYTES];
  uint32_t size;
  if (read_full(fd, header, sizeof header) != sizeof header) _exit(0);
  memcpy(&size, header, 4);
  if (size < 1 || size > SKEP_LAUNCH_BYTES_MAX || header[4] != type) {
    fail_with(err, EPROTO, "shim", "frame %u of %u bytes", header[4], size);
    return NULL;
  }
  *length = size - 1;
  uint8_t *payload = malloc(*length + 1);
  if (payload == NULL) {
    fail(err, "malloc", "frame of %u bytes", size);
    return NULL;
  }
  if (read_full(fd, payload, *length) != (ssize_t)*length) _exit(0);
  payload[*length] = 0;
  return payload;
}

/* The upper directory's mode becomes that of the container's "/". Those of an earlier run stay. */
static int make_root_directories(struct skep_error *err) {
  static const struct {
    const char *name;
    mode_t mode;
  } directories[] = {{"upper", 0755}, {"work", 0700}, {"merged", 0700}};
  umask(0);
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
    if (mkdir(directories[i].name, directories[i].mode) < 0 && errno != EEXIST)
      return fail(err, "mkdir", "%s", directories[i].name);
  umask(077);
  return 0;
}

int launch_prepare(struct shim *shim, char *title, struct skep_error *err) {
  size_t length;
  uint8_t *path = read_frame(shim->launch_fd, SKEP_FRAME_PREPARE, &length, err);
  if (path == NULL) return -1;
  size_t title_bytes = strlen(title);
  memset(title, 0, title_bytes);
  memcpy(title, path, length < title_bytes ? length : title_bytes);
  shim->oci.directory = (char *)path; /* for good */
  if (chdir((const char *)path) < 0) return fail(err, "chdir", "%s", (const char *)path);
  if (make_root_directories(err) < 0) return -1;
  return conn_listen(shim, err);
}

int launch_spec(struct shim *shim, struct skep_error *err) {
  size_t length;
  uint8_t *bytes = read_frame(shim->launch_fd, SKEP_FRAME_CREATE, &length, err); /* for good */
  if (bytes == NULL || parse_spec(bytes, length, &shim->spec, err) < 0) return -1;
  shim->streams[0].stream = 1;
  shim->streams[1].stream = 2;
  return log_open(&shim->log, shim->spec.log_bytes_max, shim->spec.log_files_max, err);
}

_Noreturn void launch_failed(struct shim *shim, const struct skep_error *err) {
  struct {
    uint32_t size;
    uint8_t type;
    uint32_t request;
    int32_t result;
    struct skep_error err;
  } __attribute__((packed)) frame = {.type = SKEP_FRAME_REPLY, .result = -1, .err = *err};
  frame.size = sizeof frame - sizeof frame.size;
  write_all(shim->launch_fd, &frame, sizeof frame);
  _exit(1);
}

void launch_done(struct shim *shim) {
  set_nonblocking(shim->launch_fd);
  struct conn *conn = conn_open(shim, shim->launch_fd);
  shim->launch_fd = -1;
  if (conn == NULL) return;
  conn_hello(shim, conn);
  conn_write(shim, conn);
}
