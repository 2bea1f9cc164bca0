/*
 * Pid 1 of a container that asked for an init. Passes signals on to the command, reaps whatever is
 * left to it, and ends with the command. Already runs with the container's own privileges.
 */
#include "reaper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "process.h"

/* What says that we are broken ourselves, or that a terminal is in the way, is not the command's. */
static bool is_ours(int number) {
  switch (number) {
    case SIGFPE:
    case SIGILL:
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
    case SIGTTIN:
    case SIGTTOU:
      return true;
    default:
      return false;
  }
}

/* In a process group of its own, so that what is typed at a terminal reaches it once. */
static _Noreturn void run_command(char **args, char **env) {
  struct skep_error err = {0};
  setpgid(0, 0);
  tcsetpgrp(0, getpid()); /* no terminal: no harm */
  execute_command(args, env, &err);
  send_status(REAPER_STATUS_FD, STATUS_ERROR, 0, &err);
  _exit(exec_exit_code(&err));
}

/* Exits when the command is among the ended. */
static void reap_all(pid_t command) {
  int status;
  pid_t pid;
  while ((pid = RETRY(waitpid(-1, &status, WNOHANG))) > 0)
    if (pid == command) _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

bool is_reaper(const char *program) {
  return strcmp(program, REAPER_NAME) == 0 || strcmp(program, REAPER_PATH) == 0;
}

_Noreturn void reaper_main(char **args, char **env) {
  sigset_t all;
  prctl(PR_SET_NAME, REAPER_NAME, 0, 0, 0);
  fcntl(REAPER_STATUS_FD, F_SETFD, FD_CLOEXEC);
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL); /* blocked ones are kept for pid 1, others would be lost */
  pid_t command = fork();
  if (command == 0) run_command(args, env);
  if (command < 0) {
    struct skep_error err;
    fail(&err, "fork", REAPER_NAME);
    send_status(REAPER_STATUS_FD, STATUS_ERROR, 0, &err);
    _exit(126);
  }
  close(REAPER_STATUS_FD);
  for (;;) {
    int number = RETRY(sigwaitinfo(&all, NULL));
    if (number == SIGCHLD)
      reap_all(command);
    else if (!is_ours(number))
      kill(command, number);
  }
}
