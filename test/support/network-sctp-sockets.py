"""SCTP by the kernel's own sockets, one to one.

network-sctp-sockets.py serve PORT NAME    says `ready`; answers each association with what it was sent, after `NAME CLIENT `
network-sctp-sockets.py ask ADDRESS PORT BYTES   sends so many bytes; prints NAME, CLIENT and how many came back
network-sctp-sockets.py can                status 0 = the kernel has such sockets
"""
import socket
import sys

PATIENCE_SECONDS = 20
PART = 1000


def opened():
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    made.settimeout(PATIENCE_SECONDS)
    return made


def read_to_end(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
        if part.endswith(b'\n'):
            break
    return b''.join(parts)


def serve(port, name):
    listener = opened()
    listener.settimeout(None)
    listener.bind(('0.0.0.0', port))
    listener.listen(16)
    print('ready', flush=True)
    while True:
        connection, (client, _) = listener.accept()
        with connection:
            sent = read_to_end(connection)
            said = f'{name} {client} '.encode() + sent
            for at in range(0, len(said), PART):
                connection.sendall(said[at:at + PART])


def ask(address, port, count):
    with opened() as connection:
        connection.connect((address, port))
        said = b'x' * (count - 1) + b'\n'
        for at in range(0, len(said), PART):
            connection.sendall(said[at:at + PART])
        name, client, rest = read_to_end(connection).split(b' ', 2)
    print(name.decode(), client.decode(), len(rest))


def main(verb, *args):
    if verb == 'can':
        opened().close()
    elif verb == 'serve':
        serve(int(args[0]), args[1])
    else:
        ask(args[0], int(args[1]), int(args[2]))


try:
    main(*sys.argv[1:])
except OSError as err:
    sys.exit(f'{type(err).__name__}: {err}')
