// The PIN wraps a person's key, and the key encrypts what the phone has read. What a PIN cannot stop: somebody who takes the phone's storage apart can
// try every PIN; the iterations make each try slow, no more. Work that is not sent yet is not under the PIN, so that it can always be sent.
import type { PinWrap } from "./device";

export const PIN_DIGITS_MIN = 4;
export const PIN_DIGITS_MAX = 6;
export const WRONG_PINS_MAX = 5;
export const IDLE_MS_MAX = 15 * 60_000;

const ITERATIONS_MIN = 100_000;
const ITERATIONS_MAX = 3_000_000;
const PROBE_ITERATIONS = 50_000;

/** How many iterations take about `target_ms` on this phone. */
export async function calibrate(target_ms: number, clock: () => number = () => performance.now()): Promise<number> {
  const began = clock();
  await derive("0000", new Uint8Array(16), PROBE_ITERATIONS);
  const took = Math.max(clock() - began, 0.5);
  return Math.round(Math.min(Math.max((PROBE_ITERATIONS * target_ms) / took, ITERATIONS_MIN), ITERATIONS_MAX));
}

/** A new person key, ready for use and wrapped under the PIN. */
export async function wrapNewKey(pin: string, iterations: number): Promise<{ key: CryptoKey; wrap: PinWrap }> {
  const raw = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt", "decrypt"]);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const under = await derive(pin, salt, iterations);
  const wrap: PinWrap = { salt, iterations, iv, key: await crypto.subtle.wrapKey("raw", raw, under, { name: "AES-GCM", iv }) };
  const key = await unwrap(pin, wrap);
  if (!key) throw new Error("a key that was just wrapped does not open");
  return { key, wrap };
}

/** The person key, not readable by any script; null where the PIN is wrong. */
export async function unwrap(pin: string, wrap: PinWrap): Promise<CryptoKey | null> {
  const under = await derive(pin, wrap.salt, wrap.iterations);
  try {
    const how = { name: "AES-GCM", iv: wrap.iv as BufferSource };
    return await crypto.subtle.unwrapKey("raw", wrap.key, under, how, "AES-GCM", false, ["encrypt", "decrypt"]);
  } catch {
    return null; // the tag does not fit: another PIN
  }
}

export function isPin(pin: string): boolean {
  return /^[0-9]{4,6}$/.test(pin);
}

async function derive(pin: string, salt: Uint8Array, iterations: number): Promise<CryptoKey> {
  const base = await crypto.subtle.importKey("raw", new TextEncoder().encode(pin), "PBKDF2", false, ["deriveKey"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: salt as BufferSource, iterations };
  return crypto.subtle.deriveKey(how, base, { name: "AES-GCM", length: 256 }, false, ["wrapKey", "unwrapKey"]);
}
