/*
 * The flat binary formats between worker/runtime (TypeScript) and skep-shim: the spec, the exec
 * request, log frames and the frames on the shim's socket. All integers are little-endian and
 * unaligned. Mirrored in native/ffi/shim-protocol.ts and worker/runtime/spec-binary.ts.
 *
 *   str  = u32 length, bytes, NUL          list = u32 count, then the entries
 *
 *   spec   (the payload of SKEP_FRAME_CREATE)
 *     u32 magic, u32 version
 *     u64 clone flags of the namespaces to create (CLONE_NEW*)
 *     list { u32 clone flag, str path }      namespaces to join (pid, net, ipc, uts, cgroup)
 *     list { u32 inside, u32 outside, u32 count } user ids, the same of group ids: of a user namespace
 *                                            of its own (CLONE_NEWUSER); else empty
 *     str hostname, str domainname           "" = leave as it is
 *     str cgroup2 directory                  "" = none; the init is cloned into it
 *     list { str path }                      tasks files of v1 groups; the init writes itself there
 *     str file with the line "oom_kill N"    "" = none
 *     list { str }                           overlay lower directories, top first
 *     u32 1 = the root is read-only
 *     list { u32 kind, str source, str target, str type, str data, u64 MS_* flags,
 *            u64 MOUNT_ATTR_* to set, u32 1 = attributes apply to the whole bound tree,
 *            u64 MS_SLAVE or MS_SHARED, with MS_REC: propagation, 0 = private }
 *     list { str path, u32 mode with S_IFMT, u32 major, u32 minor, u32 uid, u32 gid }   devices
 *     list { str } masked paths, list { str } read-only paths
 *     list { str path below /proc/sys, str value }   sysctls
 *     str AppArmor profile of its commands   "" = whatever the daemon's is
 *     u64 bytes per log file, u32 log files kept; 0 = no log
 *     str program of another OCI runtime     "" = the shim makes the container; else that one does, by
 *                                            `config.json` of the task directory
 *     process
 *   process (also the payload of SKEP_FRAME_EXEC)
 *     u32 SKEP_PROCESS_* flags, u32 uid, u32 gid, list { u32 } further groups
 *     i32 oom_score_adj, u32 umask
 *     u64 x 5 capabilities: bounding, effective, inheritable, permitted, ambient
 *     list { u32 resource, u64 soft, u64 hard } rlimits
 *     str cwd, list { str } args (>= 1), list { str } env
 *     u32 length + bytes: struct sock_filter[] of the seccomp filter, may be empty
 *     u32 rows, u32 columns                  with SKEP_PROCESS_SIZE only
 */
#ifndef SKEP_SPEC_H
#define SKEP_SPEC_H

#include <stdint.h>

#define SKEP_SPEC_MAGIC 0x504b5353u /* "SSKP" */
#define SKEP_SPEC_VERSION 5u

#define SKEP_MOUNT_FILESYSTEM 0u
#define SKEP_MOUNT_BIND 1u
#define SKEP_MOUNT_IDMAPPED 2u /* a bind whose files show their owners as ids of the user namespace */
#define SKEP_MOUNT_NO_LINKS 4u /* beside one of the two: no link in the source is followed */
#define SKEP_MOUNT_FOREIGN 8u  /* beside BIND: the source is a path in the mount namespace that `data` is a path of */

#define SKEP_PROCESS_NO_NEW_PRIVILEGES 1u
#define SKEP_PROCESS_STDIN 2u      /* stdin comes from the connection; without it it is /dev/null */
#define SKEP_PROCESS_CREATE_CWD 4u /* make the working directory when it is missing */
#define SKEP_PROCESS_TTY 8u        /* a terminal of the container's devpts */
#define SKEP_PROCESS_OOM_SCORE 16u /* oom_score_adj is to be written */
#define SKEP_PROCESS_INIT 32u      /* the container's own only: as child of a pid 1 of ours */
#define SKEP_PROCESS_SIZE 64u      /* beside TTY: the terminal has a size before the command runs */

/*
 * Every frame on the socket: u32 length of what follows, u8 type, payload. START, SIGNAL, RESIZE,
 * ATTACH, EXEC, EXEC_SIGNAL and EXEC_RESIZE are requests: their payload begins with a u32 number,
 * which the REPLY repeats. Replies need not come in the order of the requests (a START waits for its
 * exec).
 */
#define SKEP_PROTOCOL_VERSION 4u /* 3: no PROCESS_SIZE; 2: no ATTACH, no RESIZE; 1: a hello without times, an EXIT without a record */
#define SKEP_FRAME_BYTES_MAX (1u << 20)

enum skep_frame {
  /* shim -> agent */
  SKEP_FRAME_HELLO = 1,     /* first on each connection, and before the REPLY to START: struct skep_hello */
  SKEP_FRAME_REPLY = 2,     /* u32 request, i32 result (pid of an exec), struct skep_error */
  SKEP_FRAME_EXIT = 3,      /* the init ended: struct skep_exit; also told to who connects later */
  SKEP_FRAME_STDOUT = 4,    /* bytes of the connection's exec, or of the container when attached */
  SKEP_FRAME_STDERR = 5,
  SKEP_FRAME_EXEC_EXIT = 6, /* i32 exit code, 128 + signal when signalled; last on its connection */
  /* agent -> shim */
  SKEP_FRAME_START = 16,
  SKEP_FRAME_SIGNAL = 17,      /* i32 signal: to the init */
  SKEP_FRAME_EXEC = 18,        /* process; the connection then belongs to that exec */
  SKEP_FRAME_STDIN = 19,       /* bytes */
  SKEP_FRAME_STDIN_CLOSE = 20,
  SKEP_FRAME_EXEC_SIGNAL = 21, /* i32 pid, i32 signal */
  SKEP_FRAME_EXEC_RESIZE = 22, /* i32 pid, u16 rows, u16 columns */
  SKEP_FRAME_ATTACH = 23,      /* from here on: the container's output to this connection, its STDIN in */
  SKEP_FRAME_RESIZE = 24,      /* u16 rows, u16 columns: the container's terminal */
  /* On the socket that the shim is started with, in this order; then that one is a connection as any.
   * Both have a daemon and its own shim at their ends: they are no part of the protocol's version. */
  SKEP_FRAME_PREPARE = 32, /* the path of the task directory */
  SKEP_FRAME_CREATE = 33,  /* spec; answered by a HELLO when the init waits, else a REPLY to request 0 */
};

struct skep_hello {
  uint32_t version;
  uint32_t status; /* enum skep_status */
  int32_t shim_pid;
  int32_t init_pid;      /* 0 when it has ended */
  int64_t created_nanos; /* 0 while the init is not prepared */
  int64_t started_nanos; /* 0 = START was not asked for */
};
_Static_assert(sizeof(struct skep_hello) == 32, "mirrored in native/ffi/shim-protocol.ts");

/* What the file `exit` says, for when it cannot be written. */
struct skep_exit {
  int64_t started_nanos, finished_nanos;
  int32_t exit_code; /* 128 + signal when signalled */
  int32_t signal;    /* 0 = it exited by itself */
  uint32_t oom_killed;
  uint32_t reserved;
  uint8_t start_error[256]; /* struct skep_error; errno_value 0: the command was run */
};
_Static_assert(sizeof(struct skep_exit) == 288, "mirrored in native/ffi/shim-protocol.ts");

enum skep_status { SKEP_CREATED = 0, SKEP_RUNNING = 1, SKEP_EXITED = 2 };

/* Before each record of a log file. A record is one line with its newline, or a part of one. */
struct skep_log_header {
  int64_t seconds; /* CLOCK_REALTIME at which the bytes were read */
  uint32_t nanoseconds;
  uint32_t stream; /* 1 stdout, 2 stderr */
  uint32_t length; /* of the bytes that follow */
  uint32_t check;  /* SKEP_LOG_CHECK: a torn or foreign file is recognised */
};
_Static_assert(sizeof(struct skep_log_header) == 24, "mirrored in native/ffi/shim-protocol.ts");
#define SKEP_LOG_CHECK 0x474f4c53u /* "SLOG" */
#define SKEP_LOG_LINE_MAX 16384

/* The descriptor that the shim is started with: the socket of PREPARE and CREATE. */
#define SKEP_LAUNCH_FD 3
#define SKEP_TITLE_BYTES 256 /* of its only argument, which it replaces by its task directory */
#define SKEP_LAUNCH_BYTES_MAX (16u << 20) /* of these two frames */

#endif
