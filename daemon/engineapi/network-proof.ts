/** `POST /skep/net/verify`: is the network of every node as it ought to be? `repair=1` makes it so. */
import { networkProofToJson } from './json/network-proof.ts';
import type { RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

export function addNetworkProofRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('POST', '/skep/net/verify', async (context) => {
    const { networkProver } = parts.swarm.requireManager();
    const proofs = await networkProver.verify(context.flag('repair'), context.signal);
    context.send(200, proofs.map(networkProofToJson));
  });
}
