# Runs a command on a terminal of its own, and prints all that came.
#
#   docker-pty.py [--when WORD BYTES]... ROWS COLUMNS COMMAND [ARG]...
#
# Makes the terminal another size when it sees "resize". Types BYTES (hexadecimal) when it sees WORD, one WORD after
# the other, each in what came behind the one before. Exit code: the command's.
import fcntl
import os
import pty
import struct
import sys
import termios


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


arguments = sys.argv[1:]
typed = []
while arguments[0] == "--when":
    typed.append((arguments[1].encode(), bytes.fromhex(arguments[2])))
    arguments = arguments[3:]
rows, columns, *command = arguments
pid, fd = pty.fork()
if pid == 0:
    set_size(0, int(rows), int(columns))
    os.execvp(command[0], command)
seen = b""
answered = 0
resized = False
while True:
    try:
        chunk = os.read(fd, 4096)
    except OSError:
        break
    if not chunk:
        break
    seen += chunk
    if not resized and b"resize" in seen:
        set_size(fd, 51, 143)  # the kernel tells the command by SIGWINCH
        resized = True
    while typed and typed[0][0] in seen[answered:]:
        word, keys = typed.pop(0)
        answered = seen.index(word, answered) + len(word)
        os.write(fd, keys)
sys.stdout.buffer.write(seen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
