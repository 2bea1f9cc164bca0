/** For whoever meets no identity token. */
import type { ExchangeToken } from '../../common/model/registry-token.ts';

export const noTokens: ExchangeToken = () => Promise.reject(new Error('nobody has such a token'));
