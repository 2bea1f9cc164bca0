/** Address families as the kernel numbers them. */
import { isIpv6 } from './address.ts';

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_BRIDGE = 7;

/** Which families a dump is of. */
export type Families = 'ipv4' | 'both';
export const FAMILY_NUMBER: Readonly<Record<Families, number>> = { ipv4: AF_INET, both: AF_UNSPEC };

export const familyOf = (address: string): number => (isIpv6(address) ? AF_INET6 : AF_INET);
/** Not of a bridge, nor of another family that a dump may hold. */
export const isIp = (family: number | undefined): boolean =>
  family === AF_INET || family === AF_INET6;
