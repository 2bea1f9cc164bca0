/**
 * The client of the RPC rounds, in a process of its own: the same grpc-js client, one connection and
 * one unary call per put, to etcd or to a member of ours, both over mutual TLS.
 */
import { ChannelCredentials, Client } from '@grpc/grpc-js';
import type { Identity } from '../../common/pki/identity.ts';
import { serve } from '../support/helper-process.ts';
import { type Load, type LoadResult, runLoad } from '../support/load.ts';
import {
  PUT_PATH,
  putRequest,
  putResponse,
  STATUS_PATH,
  statusRequest,
  statusResponse,
} from './etcd-messages.ts';
import { encodePut, PutSource } from './key-value-machine.ts';
import { proposeMethod } from './propose-method.ts';

interface Target {
  /** `IP:port` */
  readonly address: string;
  readonly identity: Identity;
}

type PutLoad = Load & Target & { readonly valueBytes: number };

const clients = new Map<string, Client>();

function clientOf({ address, identity }: Target): Client {
  let client = clients.get(address);
  if (client === undefined) {
    const { rootPem, keyPem, certPem } = identity;
    const name = 'swarm-manager';
    const options = { 'grpc.ssl_target_name_override': name, 'grpc.default_authority': name };
    const [root, key, cert] = [rootPem, keyPem, certPem].map((pem) => Buffer.from(pem));
    const credentials = ChannelCredentials.createSsl(root!, key!, cert!, {
      checkServerIdentity: () => undefined,
    });
    client = new Client(address, credentials, options);
    clients.set(address, client);
  }
  return client;
}

function call(client: Client, path: string, request: Uint8Array): Promise<Buffer> {
  const bytes = Buffer.from(request.buffer, request.byteOffset, request.byteLength);
  const asIs = (value: Buffer): Buffer => value;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest<Buffer, Buffer>(path, asIs, asIs, bytes, (err, value) => {
      if (err) reject(err);
      else resolve(value!);
    });
  });
}

const operations = {
  etcd(load: PutLoad): Promise<LoadResult> {
    const client = clientOf(load);
    const puts = new PutSource(load.valueBytes);
    return runLoad(load, async () => {
      const request = putRequest.encode(puts.next()).finish();
      putResponse.decode(await call(client, PUT_PATH, request));
    });
  },

  skep(load: PutLoad): Promise<LoadResult> {
    const client = clientOf(load);
    const puts = new PutSource(load.valueBytes);
    return runLoad(load, () => call(client, proposeMethod.path, encodePut(puts.next())));
  },

  /** Whether the member of etcd there leads. */
  async etcdLeads(target: Target): Promise<boolean> {
    const request = statusRequest.encode({}).finish();
    const bytes = await call(clientOf(target), STATUS_PATH, request);
    const status = statusResponse.decode(bytes) as unknown as {
      readonly leader: { toString(): string };
      readonly header: { readonly memberId: { toString(): string } };
    };
    return status.leader.toString() === status.header.memberId.toString();
  },
};

export type ClientOperations = typeof operations;

serve(operations);
