/**
 * The few messages of etcd's gRPC interface that the benchmark uses, with the field numbers of
 * etcd 3.4 (etcdserver/etcdserverpb/rpc.proto).
 */
import { parse, type Type } from 'protobufjs';

const { root } = parse(`
  syntax = "proto3";
  message ResponseHeader { uint64 cluster_id = 1; uint64 member_id = 2; int64 revision = 3; }
  message PutRequest { bytes key = 1; bytes value = 2; int64 lease = 3; }
  message PutResponse { ResponseHeader header = 1; }
  message StatusRequest { }
  message StatusResponse { ResponseHeader header = 1; string version = 2; uint64 leader = 4; }
`);

export const PUT_PATH = '/etcdserverpb.KV/Put';
export const STATUS_PATH = '/etcdserverpb.Maintenance/Status';

export const putRequest: Type = root.lookupType('PutRequest');
export const putResponse: Type = root.lookupType('PutResponse');
export const statusRequest: Type = root.lookupType('StatusRequest');
export const statusResponse: Type = root.lookupType('StatusResponse');
