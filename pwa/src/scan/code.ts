// Tag codes: what a QR tag says and what a worker types when the tag is too dirty to scan. Twin of backend/domains/equipment/codes.py;
// tests/vectors/tag_code.json holds both languages to the same reading.

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_CHARS = 8;
const TYPED_CHARS_MAX = 2048;
const IN_A_URL = /\/t\/([^/?#]*)/i;
// What people and keyboards put between the halves: spaces, dashes of every length, dots.
const BETWEEN = /[\s\-_.·\u00ad\u2010-\u2015\u2212\u30fc]/g;

/** `XXXX-XXXX`, as it is printed and read out. */
export function typed(code: string): string {
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

/** The code that was scanned or typed, or null. Takes a whole URL, lower case, full-width letters, any dashes, O for 0, I and L for 1. */
export function parse(text: string): string | null {
  if ([...text].length > TYPED_CHARS_MAX) return null;
  const plain = text.normalize("NFKC");
  const found = IN_A_URL.exec(plain);
  const bare = (found ? (found[1] as string) : plain)
    .replace(BETWEEN, "")
    .toUpperCase()
    .replaceAll("O", "0")
    .replaceAll("I", "1")
    .replaceAll("L", "1");
  return bare.length === CODE_CHARS && [...bare].every((c) => ALPHABET.includes(c)) ? bare : null;
}

/** A new tag's code: 40 random bits that nobody can guess. */
export function randomCode(): string {
  return [...crypto.getRandomValues(new Uint8Array(CODE_CHARS))].map((byte) => ALPHABET[byte % ALPHABET.length]).join("");
}
