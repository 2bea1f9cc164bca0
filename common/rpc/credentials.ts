/** What TLS needs of a node's identity, as a holder whose content may rotate while in use. */

export interface Credentials {
  readonly nodeId: string;
  readonly clusterId: string;
  /** node certificate, PEM, followed by intermediates if any */
  readonly certPem: string;
  readonly keyPem: string;
  /** trust roots, PEM */
  readonly rootPem: string;
}

/** Implemented by `IdentityHolder` of common/pki. */
export interface CredentialsSource {
  readonly current: Credentials;
  /** Calls `listener` after each change; returns the release. */
  onChange(listener: () => void): () => void;
}
