// A small server that speaks SYNC, independent of ours: it checks signatures, numbers and chains as the protocol says, keeps what it takes, and can be
// told to misbehave. What it takes it takes for good: a test asks it what arrived, how often and in which order.
import { webcrypto } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { CompactSign, compactDecrypt, exportJWK, generateKeyPair } from "jose";
import type { Fetch } from "../../src/sync/net";

type Line = Record<string, unknown>;
export interface Taken {
  op: string;
  bytes: string;
  n: number;
  device: number;
  seq: number;
  state: "ok" | "refused" | "parked";
  code?: string;
}

export class Cut extends Error {}

const subtle = webcrypto.subtle;
const text = new TextDecoder();

export class TinyServer {
  epoch = "epoch-1";
  seq = 0;
  nextDevice = 1000;
  clock = () => Date.now();
  devices = new Map<number, { spki: string; predecessors: number[]; have: number; ids: string[] }>();
  taken: Taken[] = [];
  byId = new Map<string, Taken>();
  authors: Record<string, string[]>[] = [];
  lost: [device: number, from: number, to: number][] = [];
  judge: (op: unknown[]) => { state: "ok" | "refused" | "parked"; code?: string } = () => ({ state: "ok" });
  /** the lines of each pull, one answer a list; the last is repeated */
  pulls: ((asked: { cursor: string | null; want: string[] }) => Line[] | string)[] = [];
  asked: { cursor: string | null; want: string[] }[] = [];
  /** called before each request; may throw (no answer) or give an answer of its own */
  before: (path: string, init: RequestInit) => Response | undefined | Promise<Response | undefined> = () => undefined;
  /** called after the server has done its work: a throw here loses the answer */
  after: (path: string) => void = () => undefined;
  log: string[] = [];
  session: { person: string; device: number } | null = null;
  bundleBytesMax = 1_000_000;
  private signing!: CryptoKey;
  private enc!: { publicKey: CryptoKey; privateKey: CryptoKey };
  jwks: { keys: JsonWebKey[] } = { keys: [] };

  static async start(): Promise<TinyServer> {
    const server = new TinyServer();
    const sig = await generateKeyPair("ES256", { extractable: true });
    const enc = await generateKeyPair("ECDH-ES", { extractable: true });
    server.signing = sig.privateKey as CryptoKey;
    server.enc = enc as { publicKey: CryptoKey; privateKey: CryptoKey };
    const s = { ...(await exportJWK(sig.publicKey)), kid: "sig-1", use: "sig", alg: "ES256" };
    const e = { ...(await exportJWK(enc.publicKey)), kid: "enc-1", use: "enc", alg: "ECDH-ES" };
    server.jwks = { keys: [s, e] as JsonWebKey[] };
    return server;
  }

  get hlc(): number {
    return (this.clock() - 1_704_067_200_000) * 4096;
  }

  async token(typ: string, claims: Record<string, unknown>, kid = "sig-1"): Promise<string> {
    const iat = Math.floor(this.clock() / 1000);
    const body = new TextEncoder().encode(JSON.stringify({ aud: typ, ...claims, iat, exp: iat + 72 * 3600 }));
    return new CompactSign(body).setProtectedHeader({ alg: "ES256", kid, typ }).sign(this.signing);
  }

  fetch: Fetch = async (path, init = {}) => {
    this.log.push(path);
    const own = await this.before(path, init);
    if (own) return own;
    const answer = await this.route(path, init);
    this.after(path);
    return answer;
  };

  private async route(path: string, init: RequestInit): Promise<Response> {
    const type = new Headers(init.headers).get("content-type") ?? "";
    let bytes = typeof init.body === "string" ? new TextEncoder().encode(init.body) : (init.body as Uint8Array);
    if (new Headers(init.headers).get("content-encoding") === "gzip") bytes = gunzipSync(bytes);
    switch (path) {
      case "/api/auth/keys":
        return Response.json(this.jwks);
      case "/api/auth/nonce":
        return Response.json({ nonce: "nonce-1" });
      case "/api/auth/sign-in":
      case "/api/auth/refresh":
      case "/api/auth/pin-reset":
        return this.signIn(path, JSON.parse(text.decode(bytes)));
      case "/api/auth/sign-out":
      case "/api/devices/report":
        return new Response(null, { status: 204 });
      case "/api/sync/push": {
        if (type.includes("jose")) {
          const { plaintext } = await compactDecrypt(text.decode(bytes), this.enc.privateKey);
          const [signature, receipt] = text.decode(plaintext).split("\n", 2) as [string, string];
          return this.push(plaintext.subarray(signature.length + receipt.length + 2), signature, true);
        }
        return this.push(bytes, new Headers(init.headers).get("anlu-signature") ?? "", false);
      }
      case "/api/sync/pull": {
        const asked = JSON.parse(text.decode(bytes)) as { cursor: string | null; want: string[] };
        this.asked.push(asked);
        const next = this.pulls.length > 1 ? this.pulls.shift() : this.pulls[0];
        const lines = next?.(asked) ?? [
          { epoch: this.epoch, reset: asked.cursor === null, total: 0 },
          { cursor: `c${this.seq}`, through: this.seq, more: false },
        ];
        return new Response(typeof lines === "string" ? lines : lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      }
    }
    return Response.json({ code: "http.not_found", params: {} }, { status: 404 });
  }

  private async signIn(path: string, asked: Record<string, never>): Promise<Response> {
    const {
      username,
      person = username,
      device: phone,
    } = asked as unknown as {
      username?: string;
      person?: string;
      device?: {
        number?: number;
        nonce?: string;
        proof?: string;
        public_key?: string;
        predecessor?: { number: number; nonce: string; proof: string };
      };
    };
    const who = person ?? this.session?.person ?? "";
    let number = this.session?.device ?? 0;
    if (phone?.public_key) {
      const predecessors: number[] = [];
      if (phone.predecessor) {
        if (!(await this.proven(phone.predecessor))) return refuse(401, "auth.proof");
        predecessors.push(phone.predecessor.number, ...(this.devices.get(phone.predecessor.number)?.predecessors ?? []));
      }
      number = ++this.nextDevice;
      this.devices.set(number, { spki: phone.public_key, predecessors, have: 0, ids: [] });
    } else if (phone) {
      if (!(await this.proven(phone as { number: number; nonce: string; proof: string }))) return refuse(401, "auth.proof");
      number = phone.number as number;
    } else if (path !== "/api/auth/refresh") return refuse(401, "auth.proof");
    const known = this.devices.get(number);
    if (!known) return refuse(401, "auth.expired");
    this.session = { person: who, device: number };
    const certificate = await this.token("device", { dev: number, spki: known.spki, predecessors: known.predecessors });
    return Response.json({
      person: { id: who, name: who, names: { zh: who, en: who }, roles: [], caps: {} },
      device: number,
      certificate,
      author_token: await this.token("author", { sub: who, dev: number }),
      keys: this.jwks,
      epoch: this.epoch,
      now: this.hlc,
    });
  }

  private async proven({ number, nonce, proof }: { number: number; nonce: string; proof: string }): Promise<boolean> {
    const known = this.devices.get(number);
    return known !== undefined && this.signed(known.spki, new TextEncoder().encode(`anlu-device:${number}:${nonce}`), proof);
  }

  private async signed(spki: string, message: Uint8Array, signature: string): Promise<boolean> {
    const how = { name: "ECDSA", namedCurve: "P-256" };
    const key = await subtle.importKey("spki", Buffer.from(spki, "base64"), how, false, ["verify"]);
    return subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, Buffer.from(signature, "base64"), message);
  }

  private async push(bytes: Uint8Array, signature: string, kept: boolean): Promise<Response> {
    if (!kept && bytes.length > this.bundleBytesMax) return refuse(413, "http.too_large");
    const bundle = JSON.parse(text.decode(bytes)) as {
      device: number;
      certificate: string;
      first: number;
      prev: string | null;
      ops: unknown[][];
      authors: Record<string, string[]>;
      lost?: boolean;
    };
    const claims = JSON.parse(Buffer.from(bundle.certificate.split(".")[1] as string, "base64url").toString()) as {
      spki: string;
      predecessors: number[];
    };
    let device = this.devices.get(bundle.device);
    if (!device) {
      device = { spki: claims.spki, predecessors: claims.predecessors, have: 0, ids: [] };
      this.devices.set(bundle.device, device);
    }
    if (!(await this.signed(device.spki, bytes, signature))) return refuse(401, "device.signature");
    const { first, prev, ops } = bundle;
    if ((prev === null) !== (first === 1)) return refuse(400, "sync.malformed");
    if (first > device.have + 1) {
      if (!bundle.lost) return refuse(409, "sync.gap", { have: device.have });
      this.lost.push([bundle.device, device.have + 1, first - 1]);
      while (device.have < first - 1) {
        device.ids.push("lost");
        device.have++;
      }
    }
    const before = device.ids[first - 2];
    if (first > 1 && before !== "lost" && before !== prev) return refuse(409, "device.forked");
    // The very bytes of each op, from its bracket to its bracket.
    const texts = slices(text.decode(bytes));
    const verdicts: Record<string, unknown>[] = [];
    for (const [i, op] of ops.entries()) {
      const n = first + i;
      const id = Buffer.from(await subtle.digest("SHA-256", new TextEncoder().encode(texts[i]))).toString("hex");
      if (n <= device.have && device.ids[n - 1] !== id) return refuse(409, "device.forked");
      if (op[1] !== bundle.device && !device.predecessors.includes(op[1] as number)) return refuse(400, "op.wrong_device");
      let known = this.byId.get(id);
      if (!known) {
        const verdict = this.judge(op);
        known = { op: id, bytes: texts[i] as string, n, device: bundle.device, seq: ++this.seq, ...verdict };
        this.byId.set(id, known);
        this.taken.push(known);
      }
      if (n > device.have) {
        device.ids.push(id);
        device.have = n;
      }
      verdicts.push({ op: id, n, seq: known.seq, state: known.state, ...(known.code ? { code: known.code, params: {} } : {}) });
    }
    if (ops.length) this.authors.push(bundle.authors);
    const receipt = await this.token("receipt", {
      epoch: this.epoch,
      device: bundle.device,
      verdicts: verdicts.map((v) => [v.op, v.seq, v.state]),
    });
    return Response.json({ have: device.have, epoch: this.epoch, now: this.hlc, receipt, verdicts });
  }

  /** Back to an older state, as a restored backup is. */
  restore(to: { have: Map<number, number>; ops: string[] }): void {
    this.epoch = `${this.epoch}+`;
    this.taken = this.taken.filter((t) => to.ops.includes(t.op));
    this.byId = new Map(this.taken.map((t) => [t.op, t]));
    for (const [number, device] of this.devices) {
      const have = to.have.get(number);
      if (have === undefined) this.devices.delete(number);
      else {
        device.have = have;
        device.ids.length = have;
      }
    }
    this.seq += 1_000_000;
  }
}

export function refuse(status: number, code: string, params: Record<string, unknown> = {}, headers: Record<string, string> = {}): Response {
  return Response.json({ code, message: { zh: code, en: code }, params }, { status, headers });
}

function slices(bundle: string): string[] {
  const from = bundle.lastIndexOf(',"ops":[') + 8;
  const found: string[] = [];
  let depth = 0;
  let start = from;
  let quoted = false;
  for (let i = from; i < bundle.length; i++) {
    const c = bundle[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "[" || c === "{") {
      if (depth++ === 0) start = i;
    } else if (c === "]" || c === "}") {
      if (--depth === 0) found.push(bundle.slice(start, i + 1));
      if (depth < 0) break;
    }
  }
  return found;
}
