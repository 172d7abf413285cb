// What the phone signs, checks and seals, on WebCrypto alone; `jose` is loaded only to seal what leaves the phone or stays on it for long.
import type { DeviceRow } from "../store/device";
import { sealedHash } from "./op";

const encoder = new TextEncoder();

export const DEVICE_KEY = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;

/** A key pair whose private half no script can read out. */
export function newDeviceKey(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(DEVICE_KEY, false, ["sign", "verify"]) as Promise<CryptoKeyPair>;
}

/** Base64 of the public key as SPKI, as registration wants it. */
export async function publicKeyText(key: CryptoKey): Promise<string> {
  return base64(new Uint8Array(await crypto.subtle.exportKey("spki", key)));
}

/** RFC 7638 thumbprint of the public key, base64url: what the certificate names. */
export async function thumbprint(key: CryptoKey): Promise<string> {
  const { crv, kty, x, y } = await crypto.subtle.exportKey("jwk", key);
  return base64url(await sha256(encoder.encode(JSON.stringify({ crv, kty, x, y }))));
}

/** Base64 of the raw r||s signature over exactly these bytes. */
export async function sign(key: CryptoKey, bytes: Uint8Array): Promise<string> {
  return base64(new Uint8Array(await crypto.subtle.sign(SIGNING, key, bytes as BufferSource)));
}

/** That this phone holds the key of that number. */
export async function prove(device: DeviceRow, nonce: string): Promise<{ number: number; nonce: string; proof: string }> {
  return { number: device.number, nonce, proof: await sign(device.privateKey, encoder.encode(`anlu-device:${device.number}:${nonce}`)) };
}

export class BadToken extends Error {
  constructor(readonly why: "form" | "header" | "key" | "signature" | "type" | "ended") {
    super(`token: ${why}`);
  }
}

/** The claims of a statement of the server's, of exactly this type, signed by a key pinned at sign-in. Raises BadToken. */
export async function verifyToken(
  text: string,
  type: string,
  keys: readonly JsonWebKey[],
  now_ms?: number,
): Promise<Record<string, unknown>> {
  const [head, body, signature, more] = text.split(".");
  if (!head || !body || !signature || more !== undefined) throw new BadToken("form");
  let header: Record<string, unknown>;
  let claims: Record<string, unknown>;
  try {
    header = JSON.parse(fromBase64url(head));
    claims = JSON.parse(fromBase64url(body));
  } catch {
    throw new BadToken("form");
  }
  if (header.alg !== "ES256" || Object.keys(header).some((name) => !["alg", "kid", "typ"].includes(name))) throw new BadToken("header");
  const pinned = keys.find((key) => (key as { kid?: string }).kid === header.kid && key.use === "sig");
  if (!pinned) throw new BadToken("key");
  const { kty, crv, x, y } = pinned;
  const key = await crypto.subtle.importKey("jwk", { kty, crv, x, y } as JsonWebKey, DEVICE_KEY, false, ["verify"]);
  const over = encoder.encode(`${head}.${body}`);
  if (!(await crypto.subtle.verify(SIGNING, key, bytesOfBase64url(signature) as BufferSource, over))) throw new BadToken("signature");
  if (header.typ !== type || claims.aud !== type) throw new BadToken("type");
  if (now_ms !== undefined && typeof claims.exp === "number" && now_ms >= claims.exp * 1000) throw new BadToken("ended");
  return claims;
}

/** What a token says of its own time, unchecked: the phone got it from the server itself. Unix ms. */
export function tokenTimes(text: string): { from: number; until: number } {
  const { iat, exp } = JSON.parse(fromBase64url(text.split(".")[1] ?? "")) as { iat: number; exp: number };
  return { from: iat * 1000, until: exp * 1000 };
}

/** A compact JWE (ECDH-ES, A256GCM) to the server's newest `enc` key: nobody but the server opens it, this phone neither. */
export async function sealToServer(plain: Uint8Array, keys: readonly JsonWebKey[]): Promise<string> {
  const to = keys.find((key) => key.use === "enc") as (JsonWebKey & { kid?: string }) | undefined;
  if (!to) throw new BadToken("key");
  const { CompactEncrypt, importJWK } = await import("jose");
  const { kty, crv, x, y } = to;
  const key = await importJWK({ kty, crv, x, y } as JsonWebKey & { kty: string }, "ECDH-ES");
  return new CompactEncrypt(plain).setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", kid: to.kid as string }).encrypt(key);
}

/** Put a value out of an op's sight: `{"sealed": hash}` stands in the op, salt and text travel beside it. */
export async function sealValue(value: unknown): Promise<{ hash: string; salt: string; text: string }> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const text = JSON.stringify(value);
  return { hash: await sealedHash(salt, text), salt: base64(salt), text };
}

export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
}

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

export function base64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function base64url(bytes: Uint8Array): string {
  return base64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function bytesOfBase64url(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
}

function fromBase64url(text: string): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytesOfBase64url(text));
}
