/** Generic netlink: finds families by name, writes the header that their messages begin with. */
import { attributes, MessageBatch } from './message.ts';
import { NetlinkError, type NetlinkSocket } from './sockets.ts';

const GENL_ID_CTRL = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

export function genlHeader(batch: MessageBatch, command: number, version = 1): void {
  batch.u8(command);
  batch.u8(version);
  batch.u16(0);
}

/** The message type of a family; null when the kernel has none of that name. The kernel loads a module for it. */
export async function findFamily(socket: NetlinkSocket, name: string): Promise<number | null> {
  const batch = new MessageBatch(64);
  batch.message(GENL_ID_CTRL, 0, `look up netlink family ${name}`, () => {
    genlHeader(batch, CTRL_CMD_GETFAMILY);
    batch.attrText(CTRL_ATTR_FAMILY_NAME, name);
  });
  try {
    const [answer] = await socket.transact(batch);
    if (!answer) return null;
    return attributes(answer.payload.subarray(4)).get(CTRL_ATTR_FAMILY_ID)?.readUInt16LE() ?? null;
  } catch (err) {
    if (err instanceof NetlinkError && err.errno === 'ENOENT') return null;
    throw err;
  }
}
