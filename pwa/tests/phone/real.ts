// The real server, started for a test on a free port with an empty folder, and phones that talk to it over HTTP with a cookie jar of their own.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { World } from "../../src/app/core";
import { alone } from "../../src/sync/locks";
import { storage } from "./phone";

export const ROOT = resolve(import.meta.dirname, "../../..");
const OWN = join(ROOT, ".venv/bin/python");
export const PYTHON = existsSync(OWN) ? OWN : "python3";

export class RealServer {
  private process: ChildProcess | null = null;
  log = "";

  private constructor(
    readonly folder: string,
    readonly port: number,
  ) {}

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  static async demo(): Promise<RealServer> {
    const server = new RealServer(await mkdtemp(join(tmpdir(), "anlu-phone-")), await freePort());
    await server.start("demo");
    return server;
  }

  async start(command: "demo" | "serve"): Promise<void> {
    const env = { ...process.env, ANLU_PORT: String(this.port), ANLU_DATA: this.folder, ANLU_DEMO_SIZE: "small" };
    const running = spawn(PYTHON, ["-m", "backend.cli", command], { cwd: ROOT, env });
    this.process = running;
    running.stdout.on("data", (text) => (this.log += text));
    running.stderr.on("data", (text) => (this.log += text));
    for (let tries = 0; tries < 300; tries++) {
      if (running.exitCode !== null) break;
      const answer = await fetch(`${this.origin}/api/health`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the server did not start:\n${this.log.slice(-3000)}`);
  }

  /** As the power would. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.process?.once("exit", resolve));
    this.process?.kill("SIGKILL");
    await ended;
  }

  async end(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What a phone's browser brings: its own storage, cookies, locks. `online` is the cable. */
export class Surround {
  readonly disk = storage();
  online = true;
  offset = 0;
  cookie = "";

  constructor(readonly server: RealServer) {}

  get world(): Partial<World> {
    return {
      ...this.disk,
      fetch: this.fetch,
      wall: () => Date.now() + this.offset,
      exclusive: alone(),
      pinMs: 5,
      origin: this.server.origin,
      lively: false,
    };
  }

  fetch = async (path: string, init: RequestInit = {}): Promise<Response> => {
    if (!this.online) throw new TypeError("no network");
    const headers = new Headers(init.headers);
    if (this.cookie) headers.set("Cookie", this.cookie);
    const response = await fetch(path, { ...init, headers });
    for (const set of response.headers.getSetCookie()) this.cookie = set.split(";")[0] as string;
    return response;
  };
}

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
