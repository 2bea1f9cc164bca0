/**
 * What every object of the cluster begins with. The files beside this one are the Docker Engine API's JSON as types: its
 * field names, its units (nanoseconds, bytes), shared by the API client and the stack file loader. Only fields that
 * we send or show are listed; unknown ones are ignored on both sides. They know nothing of transport.
 */

export interface VersionJson {
  readonly Index: number;
}

export interface ObjectHeadJson {
  readonly ID: string;
  readonly Version: VersionJson;
  /** RFC 3339 with nanoseconds, UTC */
  readonly CreatedAt: string;
  readonly UpdatedAt: string;
}

export type LabelsJson = Readonly<Record<string, string>>;
