/** Images between nodes: model <-> protobuf. */
import { skep } from '../../proto/gen/skep.js';
import type {
  BlobOrigin,
  BlobPart,
  ImageTaken,
  ReadBlobRequest,
  TakeImageRequest,
  WantedImages,
} from '../model/blob.ts';
import type { TokenGrant, TokenRequest } from '../model/registry-token.ts';
import { bytesFromProto, intFromProto } from './scalars.ts';

export function encodeReadBlobRequest(request: ReadBlobRequest): Uint8Array {
  const { digest, offset, origin } = request;
  return skep.ReadBlobRequest.encode({
    digest,
    offset,
    origin: origin && { ...origin, login: origin.auth },
  }).finish();
}

export function decodeReadBlobRequest(bytes: Uint8Array): ReadBlobRequest {
  const m = skep.ReadBlobRequest.decode(bytes);
  return {
    digest: m.digest,
    offset: intFromProto(m.offset, 'offset'),
    origin: m.origin ? originFromProto(m.origin) : null,
  };
}

function originFromProto(m: skep.IBlobOrigin): BlobOrigin {
  const { login } = m;
  const identityToken = login?.identityToken ?? '';
  return {
    domain: m.domain ?? '',
    path: m.path ?? '',
    auth: login
      ? {
          username: login.username ?? '',
          password: login.password ?? '',
          ...(identityToken && { identityToken }),
        }
      : null,
    sizeBytes: intFromProto(m.sizeBytes ?? 0, 'size'),
    isManifest: m.isManifest ?? false,
  };
}

export function encodeBlobPart({ data }: BlobPart): Uint8Array {
  return skep.BlobPart.encode({ data }).finish();
}

export function decodeBlobPart(bytes: Uint8Array): BlobPart {
  return { data: bytesFromProto(skep.BlobPart.decode(bytes).data) };
}

export function encodeTakeImageRequest(request: TakeImageRequest): Uint8Array {
  return skep.TakeImageRequest.encode({
    manifestDigest: request.manifestDigest,
    tags: [...request.tags],
    sourceNodeId: request.source.nodeId,
    sourceAddress: request.source.address,
  }).finish();
}

export function decodeTakeImageRequest(bytes: Uint8Array): TakeImageRequest {
  const m = skep.TakeImageRequest.decode(bytes);
  return {
    manifestDigest: m.manifestDigest,
    tags: m.tags,
    source: { nodeId: m.sourceNodeId, address: m.sourceAddress },
  };
}

export function encodeWantedImagesRequest(_: Record<string, never>): Uint8Array {
  return skep.WantedImagesRequest.encode({}).finish();
}

export function decodeWantedImagesRequest(bytes: Uint8Array): Record<string, never> {
  skep.WantedImagesRequest.decode(bytes);
  return {};
}

export function encodeWantedImages({ images }: WantedImages): Uint8Array {
  return skep.WantedImages.encode({ images: [...images] }).finish();
}

export function decodeWantedImages(bytes: Uint8Array): WantedImages {
  return { images: skep.WantedImages.decode(bytes).images };
}

export function encodeImageTaken({ imageId }: ImageTaken): Uint8Array {
  return skep.ImageTaken.encode({ imageId }).finish();
}

export function decodeImageTaken(bytes: Uint8Array): ImageTaken {
  return { imageId: skep.ImageTaken.decode(bytes).imageId };
}

export function encodeTokenRequest({ service, scopes, ...request }: TokenRequest): Uint8Array {
  const fields = { ...request, service: service ?? '', scopes: [...scopes] };
  return skep.ExchangeTokenRequest.encode(fields).finish();
}

export function decodeTokenRequest(bytes: Uint8Array): TokenRequest {
  const m = skep.ExchangeTokenRequest.decode(bytes);
  const { domain, realm, scopes, identityToken, isLogin } = m;
  return { domain, realm, service: m.service || null, scopes, identityToken, isLogin };
}

export function encodeTokenGrant({ lifeMs, ...grant }: TokenGrant): Uint8Array {
  return skep.ExchangedToken.encode({ ...grant, lifeMs: Math.round(lifeMs) }).finish();
}

export function decodeTokenGrant(bytes: Uint8Array): TokenGrant {
  const { accessToken, lifeMs, identityToken } = skep.ExchangedToken.decode(bytes);
  return { accessToken, lifeMs: intFromProto(lifeMs, 'life'), identityToken };
}
