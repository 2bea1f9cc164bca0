/** What a registry asks of who is not let in: the header `WWW-Authenticate`. Pure. */

/** What `WWW-Authenticate` asks for. */
export type Challenge =
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      readonly realm: string;
      readonly service: string | null;
      readonly scope: string | null;
    };

export type BearerChallenge = Extract<Challenge, { kind: 'bearer' }>;

/** The strongest challenge understood; null = none. */
export function parseChallenge(header: string): Challenge | null {
  const bearer = /\bBearer\s+(.*)$/i.exec(header);
  if (bearer) {
    const fields = new Map<string, string>();
    for (const match of bearer[1]!.matchAll(/([a-z_]+)=(?:"([^"]*)"|([^\s,]+))/gi)) {
      fields.set(match[1]!.toLowerCase(), match[2] ?? match[3]!);
    }
    const realm = fields.get('realm');
    if (realm !== undefined) {
      const [service, scope] = [fields.get('service') ?? null, fields.get('scope') ?? null];
      return { kind: 'bearer', realm, service, scope };
    }
  }
  return /\bBasic\b/i.test(header) ? { kind: 'basic' } : null;
}
