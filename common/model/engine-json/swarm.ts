/** The Docker Engine API's JSON: the cluster. */
import type { LabelsJson, ObjectHeadJson } from './object-head.ts';

export interface ExternalCaJson {
  readonly Protocol: string;
  readonly URL: string;
  readonly Options?: Readonly<Record<string, string>>;
  /** PEM */
  readonly CACert?: string;
}

export interface CaConfigJson {
  readonly NodeCertExpiry?: number;
  readonly ForceRotate?: number;
  readonly ExternalCAs?: readonly ExternalCaJson[];
  /** PEM; never in an answer */
  readonly SigningCACert?: string;
  readonly SigningCAKey?: string;
}

export interface TlsInfoJson {
  /** PEM */
  readonly TrustRoot?: string;
  /** base 64 of DER */
  readonly CertIssuerSubject?: string;
  readonly CertIssuerPublicKey?: string;
}

export interface SwarmSpecJson {
  readonly Name?: string;
  readonly Labels?: LabelsJson;
  readonly Orchestration?: { readonly TaskHistoryRetentionLimit?: number };
  readonly Raft?: {
    readonly SnapshotInterval?: number;
    readonly KeepOldSnapshots?: number;
    readonly ElectionTick?: number;
    readonly HeartbeatTick?: number;
  };
  readonly Dispatcher?: { readonly HeartbeatPeriod?: number };
  readonly CAConfig?: CaConfigJson;
  readonly EncryptionConfig?: { readonly AutoLockManagers?: boolean };
}

export interface SwarmJson extends ObjectHeadJson {
  readonly Spec: SwarmSpecJson;
  readonly JoinTokens?: { readonly Worker: string; readonly Manager: string };
  readonly TLSInfo?: TlsInfoJson;
  readonly RootRotationInProgress?: boolean;
}

export interface SwarmInitJson {
  readonly ListenAddr: string;
  readonly AdvertiseAddr: string;
  readonly DataPathAddr: string;
  readonly DataPathPort: number;
  readonly ForceNewCluster: boolean;
  readonly AutoLockManagers: boolean;
  readonly Availability: string;
  readonly DefaultAddrPool: readonly string[];
  readonly SubnetSize: number;
  readonly Spec: SwarmSpecJson;
}

export interface SwarmJoinJson {
  readonly ListenAddr: string;
  readonly AdvertiseAddr: string;
  readonly DataPathAddr: string;
  readonly RemoteAddrs: readonly string[];
  readonly JoinToken: string;
  readonly Availability: string;
}
