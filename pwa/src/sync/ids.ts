// Ids: what a phone makes (UUIDv7) and what follows from something else (UUIDv5). Twin of backend/kernel/ids.py. Pure: time and chance are arguments.

/** The one fixed namespace of every derived id: UUIDv5 of `urn:anlu:derived` among URLs. Never change it. */
export const NAMESPACE = uuid5("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "urn:anlu:derived");

/** The author of ops that the server's own device writes (spawned documents, deadlines, kinds). */
export const SERVER_AUTHOR = "00000000-0000-0000-0000-000000000000";

/** The UUIDv5 of a name in our namespace. */
export function derived(name: string): string {
  return uuid5(NAMESPACE, name);
}

/** The id of what an op brings about: the same on phone and server. */
export function spawned(opId: string, name: string): string {
  return derived(`${opId}:${name}`);
}

/** The id of the document that holds a version of a kind. */
export function kindDocument(name: string, version: number): string {
  return derived(`kind:${name}@${version}`);
}

/** The id of the one plant document. */
export const PLANT = derived("plant");

/** The id of the one calendar document. */
export const CALENDAR = derived("calendar");

/** A UUIDv7 (RFC 9562) from Unix milliseconds and 10 random bytes. */
export function uuid7(ms: number, random: Uint8Array): string {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, Math.floor(ms / 0x1_0000));
  new DataView(bytes.buffer).setUint16(4, ms % 0x1_0000);
  bytes.set(random.subarray(0, 10), 6);
  return format(bytes, 7);
}

function uuid5(namespace: string, name: string): string {
  const space = Uint8Array.from(namespace.replaceAll("-", "").match(/../g) ?? [], (hex) => Number.parseInt(hex, 16));
  const text = new TextEncoder().encode(name);
  const whole = new Uint8Array(16 + text.length);
  whole.set(space);
  whole.set(text, 16);
  return format(sha1(whole).subarray(0, 16), 5);
}

function format(bytes: Uint8Array, version: number): string {
  bytes[6] = (at(bytes, 6) & 0x0f) | (version << 4);
  bytes[8] = (at(bytes, 8) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

// SHA-1 here and not from WebCrypto: that one only answers later, and a derived id is needed in the middle of a judgement. It names, it protects nothing.
function sha1(message: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, message.length * 8);
  const h = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0] as [number, number, number, number, number];
  const w = new Int32Array(80);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 80; i++) {
      w[i] = i < 16 ? view.getInt32(block + i * 4) : roll(at(w, i - 3) ^ at(w, i - 8) ^ at(w, i - 14) ^ at(w, i - 16), 1);
    }
    let [a, b, c, d, e] = h;
    for (let i = 0; i < 80; i++) {
      const [f, k] =
        i < 20
          ? [(b & c) | (~b & d), 0x5a827999]
          : i < 40
            ? [b ^ c ^ d, 0x6ed9eba1]
            : i < 60
              ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
              : [b ^ c ^ d, 0xca62c1d6];
      const next = (roll(a, 5) + f + e + k + at(w, i)) | 0;
      [a, b, c, d, e] = [next, a, roll(b, 30), c, d];
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
  }
  const digest = new DataView(new ArrayBuffer(20));
  h.forEach((word, i) => {
    digest.setInt32(i * 4, word);
  });
  return new Uint8Array(digest.buffer);
}

function roll(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}

function at(list: ArrayLike<number>, i: number): number {
  return list[i] as number;
}
