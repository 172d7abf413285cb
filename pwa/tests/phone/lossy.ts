// A bad line between a phone and the server: it loses packets, is slow and far away, and breaks. Bytes are never changed: what a lost packet costs on a
// real line, above TCP, is the time until it has been sent again.
import { connect, createServer, type Server, type Socket } from "node:net";

const PACKET_BYTES = 1460;
/** So much waits in the line before its sender is stopped, as in a phone's own buffers. */
const WAITING_BYTES_MAX = 32_768;

export interface Line {
  kbits: number;
  /** there and back, ms */
  roundTripMs: number;
  /** share of packets that are sent a second time */
  loss: number;
  /** the line breaks after so many bytes down, at least and at most */
  cutBytes: [number, number];
  random(): number;
}

/** The line to a server on 127.0.0.1; `origin` is this end of it. */
export class LossyLine {
  down = 0;
  cuts = 0;
  lost = 0;
  private server: Server;
  private open = new Set<Socket>();
  private left: number;
  private free = { up: 0, down: 0 };

  private constructor(
    readonly line: Line,
    readonly port: number,
  ) {
    this.left = this.untilCut();
    this.server = createServer((phone) => this.join(phone));
  }

  static async to(port: number, line: Line): Promise<LossyLine> {
    const made = new LossyLine(line, port);
    await new Promise<void>((ready) => made.server.listen(0, "127.0.0.1", ready));
    return made;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  async end(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    await new Promise((ended) => this.server.close(ended));
  }

  private join(phone: Socket): void {
    const server = connect(this.port, "127.0.0.1");
    for (const socket of [phone, server]) {
      this.open.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => this.open.delete(socket));
    }
    const begins = Date.now() + this.line.roundTripMs; // the handshake
    this.carry(phone, server, "up", begins);
    this.carry(server, phone, "down", begins);
  }

  private carry(from: Socket, to: Socket, way: "up" | "down", begins: number): void {
    const { line } = this;
    let last = begins;
    let waiting = 0;
    const later = (what: () => void): void => void setTimeout(what, Math.max(0, last - Date.now()));
    from.on("data", (data: Buffer) => {
      for (let at = 0; at < data.length; at += PACKET_BYTES) {
        const packet = data.subarray(at, at + PACKET_BYTES);
        // Everybody on the line shares its rate; a connection's packets stay in order, and wait for the one that was lost.
        this.free[way] = Math.max(this.free[way], Date.now()) + (packet.length * 8) / line.kbits;
        last = Math.max(last, this.free[way] + line.roundTripMs / 2);
        if (line.random() < line.loss) {
          this.lost++;
          last += line.roundTripMs * (1 + line.random());
        }
        waiting += packet.length;
        later(() => {
          waiting -= packet.length;
          if (waiting < WAITING_BYTES_MAX && from.isPaused()) from.resume();
          if (to.destroyed || !to.writable) return;
          to.write(packet);
          if (way === "down") this.counted(packet.length);
        });
      }
      if (waiting >= WAITING_BYTES_MAX) from.pause();
    });
    from.on("end", () => later(() => to.end()));
    from.on("close", () => later(() => to.destroy()));
  }

  private counted(bytes: number): void {
    this.down += bytes;
    this.left -= bytes;
    if (this.left > 0) return;
    this.left = this.untilCut();
    this.cuts++;
    for (const socket of this.open) socket.destroy();
  }

  private untilCut(): number {
    const [least, most] = this.line.cutBytes;
    return least + this.line.random() * (most - least);
  }
}

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
