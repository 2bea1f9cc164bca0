"""The first packets of SCTP (RFC 9260) by raw sockets, so that it can be tried where the kernel has no sockets of it.

network-sctp.py serve TAG          answers each INIT with an INIT ACK that tells TAG and the client's address
network-sctp.py ask ADDRESS PORT   sends an INIT; prints `TAG CLIENT from ADDRESS` of the INIT ACK
"""
import socket
import struct
import sys

PROTOCOL = 132
INIT, INIT_ACK = 1, 2
CLIENT_PORT = 40132
CLIENT_TAG = 0x01020304
PATIENCE_SECONDS = 3


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def packet(source_port, port, verification_tag, chunk_type, tag, window):
    chunk = struct.pack('>BBHIIHHI', chunk_type, 0, 20, tag, window, 1, 1, 1)
    head = struct.pack('>HHI', source_port, port, verification_tag)
    checksum = struct.pack('<I', crc32c(head + bytes(4) + chunk))
    return head + checksum + chunk


def read(data):
    """Of an IPv4 packet: ports, verification tag, chunk type, initiate tag, window; None when the checksum is wrong."""
    sctp = data[(data[0] & 15) * 4:]
    (checksum,) = struct.unpack('<I', sctp[8:12])
    if checksum != crc32c(sctp[:8] + bytes(4) + sctp[12:]):
        return None
    source_port, port, verification_tag = struct.unpack('>HHI', sctp[:8])
    chunk_type, _, _, tag, window = struct.unpack('>BBHII', sctp[12:24])
    return source_port, port, verification_tag, chunk_type, tag, window


def serve(tag):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL)
    print('ready', flush=True)
    while True:
        data, (client, _) = sock.recvfrom(2048)
        found = read(data)
        if found is None or found[3] != INIT:
            continue
        source_port, port, _, _, client_tag, _ = found
        (window,) = struct.unpack('>I', socket.inet_aton(client))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL) as answer:
            # Bound to no address: from that of the route, as the kernel's sockets of SCTP do.
            answer.sendto(packet(port, source_port, client_tag, INIT_ACK, tag, window), (client, 0))


def ask(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL)
    sock.settimeout(PATIENCE_SECONDS)
    sock.sendto(packet(CLIENT_PORT, port, 0, INIT, CLIENT_TAG, 65536), (address, 0))
    while True:
        data, (source, _) = sock.recvfrom(2048)
        found = read(data)
        if found is None or found[2] != CLIENT_TAG or found[3] != INIT_ACK:
            continue
        print(found[4], socket.inet_ntoa(struct.pack('>I', found[5])), 'from', f'{source}:{found[0]}')
        return


if sys.argv[1] == 'serve':
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]))
