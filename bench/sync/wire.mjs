// What every adapter stands on: a server process and what it uses, and HTTP that counts the bytes on the wire.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import zlib from "node:zlib";

const TICKS_PER_SECOND = 100;
const LOG_CHARS_MAX = 20_000;
/** What browsers send. */
const ENCODINGS = "gzip, deflate, br, zstd";
const DECODE = { gzip: zlib.gunzipSync, deflate: zlib.inflateSync, br: zlib.brotliDecompressSync, zstd: zlib.zstdDecompressSync };

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until it is so. Throws after a time. */
export async function until(ask, { ms = 120_000, every = 5 } = {}) {
  const ends = performance.now() + ms;
  for (;;) {
    try {
      const found = await ask();
      if (found) return found;
    } catch (error) {
      if (performance.now() > ends) throw error;
    }
    if (performance.now() > ends) throw new Error("it did not come");
    await sleep(every);
  }
}

/** A server process, and what it and its children use. */
export class Server {
  constructor(command, args, options = {}) {
    this.log = "";
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    const read = (part) => {
      this.log = (this.log + part).slice(-LOG_CHARS_MAX);
    };
    this.process.stdout.on("data", read);
    this.process.stderr.on("data", read);
    // Whatever happens here, no server stays behind.
    process.on("exit", () => this.process.kill("SIGKILL"));
    this.ended = new Promise((done) => this.process.on("exit", done));
    this.wanted = true;
    this.ended.then(() => {
      if (!this.wanted) return;
      console.error(`${command} ${args.join(" ")} has ended:\n${this.log.slice(-2_000)}`);
      process.exit(1);
    });
  }

  pids() {
    const found = [this.process.pid];
    for (const pid of found) {
      try {
        found.push(...fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number));
      } catch {
        // it has ended
      }
    }
    return found;
  }

  sum(file, read) {
    return this.pids().reduce((total, pid) => {
      try {
        return total + read(fs.readFileSync(`/proc/${pid}/${file}`, "utf8"));
      } catch {
        return total;
      }
    }, 0);
  }

  /** Seconds of processor time so far. */
  cpu() {
    return this.sum("stat", (text) => {
      const parts = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return (Number(parts[11]) + Number(parts[12])) / TICKS_PER_SECOND;
    });
  }

  /** The most memory it ever held, MB (2^20). */
  memory() {
    return this.sum("status", (text) => Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024);
  }

  async stop(signal = "SIGKILL") {
    this.wanted = false;
    this.process.kill(signal);
    await this.ended;
  }
}

/** One phone's connection. */
export class Http {
  constructor(port) {
    this.port = port;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    this.sockets = new Set();
  }

  /** Bytes on the wire so far, headers and all. */
  get bytes() {
    let [down, up] = [0, 0];
    for (const socket of this.sockets) {
      down += socket.bytesRead;
      up += socket.bytesWritten;
    }
    return { down, up };
  }

  ask(method, path, { headers = {}, body } = {}) {
    return new Promise((done, fail) => {
      const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
      const options = { host: "127.0.0.1", port: this.port, method, path, agent: this.agent };
      const request = http.request({ ...options, headers: { "accept-encoding": ENCODINGS, ...headers, ...length } }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", fail);
        answer.on("end", () => {
          const raw = Buffer.concat(parts);
          const decode = DECODE[answer.headers["content-encoding"]];
          done({ status: answer.statusCode, headers: answer.headers, body: decode && raw.length ? decode(raw) : raw });
        });
      });
      request.on("socket", (socket) => this.sockets.add(socket));
      // A server may close a connection that has rested while it is taken up again: the same goes out once more.
      request.on("error", (error) => (request.reusedSocket && error.code === "ECONNRESET" ? done(this.ask(method, path, { headers, body })) : fail(error)));
      request.end(body);
    });
  }

  /** An answer that must be a good one. */
  async good(method, path, options) {
    const answer = await this.ask(method, path, options);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString().slice(0, 300)}`);
    return answer;
  }

  async json(method, path, value, headers = {}) {
    const body = value === undefined ? undefined : JSON.stringify(value);
    const answer = await this.good(method, path, { headers: { "content-type": "application/json", ...headers }, body });
    return answer.body.length ? JSON.parse(answer.body.toString()) : null;
  }

  close() {
    this.agent.destroy();
  }
}

/** Bytes on the wire of all these, in KB. */
export function traffic(phones) {
  const sum = (way) => phones.reduce((total, phone) => total + phone.bytes[way], 0) / 1_000;
  return { up_kb: sum("up"), down_kb: sum("down") };
}
