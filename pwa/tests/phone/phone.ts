// A phone for tests: its own storage, its own clock, and a way to be killed at any write.
import { IDBFactory, IDBKeyRange, IDBObjectStore } from "fake-indexeddb";
import { DeviceDb, FRESH_CLOCK } from "../../src/store/device";
import type { Fetch } from "../../src/sync/net";
import { type Saying, say } from "../../src/sync/outbox";
import { deviceForSignIn, hear, type Means, pin, push, takeDevice } from "../../src/sync/push";
import { tokenTimes } from "../../src/sync/crypto";
import type { TinyServer } from "./server";

export const PERSON = "0190c000-0000-7000-8000-000000000001";
export const OTHER = "0190c000-0000-7000-8000-000000000002";

export function storage(): { indexedDB: IDBFactory; IDBKeyRange: typeof globalThis.IDBKeyRange } {
  return { indexedDB: new IDBFactory(), IDBKeyRange: IDBKeyRange as unknown as typeof globalThis.IDBKeyRange };
}

export class Phone {
  db: DeviceDb;
  offset = 0;
  wall = () => Date.now() + this.offset;

  constructor(
    readonly server: TinyServer,
    readonly disk = storage(),
  ) {
    this.db = new DeviceDb(this.disk);
  }

  get means(): Means {
    return { db: this.db, fetch: this.fetch, wall: this.wall, registerAnew: () => this.signIn("/api/auth/refresh") };
  }

  fetch: Fetch = (path, init) => this.server.fetch(path, init);

  async signIn(path = "/api/auth/sign-in", person = PERSON): Promise<void> {
    const device = await deviceForSignIn(this.db, async () => "nonce-1", "test");
    const answer = await this.fetch(path, {
      method: "POST",
      body: JSON.stringify(path.endsWith("refresh") ? { device } : { username: person, device }),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.code);
    await pin(this.db, said.keys.keys);
    await takeDevice(this.db, said.device, said.certificate);
    const at = this.wall();
    await this.db.transaction("rw", this.db.meta, this.db.tokens, async () => {
      await hear(this.db, { ...said, sent: at, came: at });
      await this.db.tokens.add({ person: said.person.id, device: said.device, token: said.author_token, ...tokenTimes(said.author_token) });
    });
  }

  say(...sayings: Saying[]) {
    return say(this.db, PERSON, sayings, this.wall);
  }

  push() {
    return push(this.means);
  }

  /** The app starts again over what is on disk. */
  reopen(): Phone {
    this.db.close();
    const again = new Phone(this.server, this.disk);
    again.offset = this.offset;
    return again;
  }

  async states(): Promise<Record<string, number>> {
    const found: Record<string, number> = {};
    for (const row of await this.db.ops.toArray()) found[row.state] = (found[row.state] ?? 0) + 1;
    return found;
  }

  async clock() {
    return (await this.db.read("clock")) ?? FRESH_CLOCK;
  }
}

let serial = 0;
/** A fact about a hazard, different each time. */
export function fact(note = `note ${++serial}`): Saying {
  const id = (0x100000000000 + ++serial).toString(16).slice(-12);
  return { verb: "new", doc: `hazard/0190c000-0000-7000-8000-${id}`, version: 1, fields: { note } };
}

export class Killed extends Error {}

const WRITES = ["put", "add", "delete", "clear"] as const;
const original = Object.fromEntries(WRITES.map((name) => [name, IDBObjectStore.prototype[name]]));

/** Kill the phone at its `nth` write from now: that write and everything after it never happens, and its transaction is undone. */
export function killAt(nth: number): { alive(): void; writes(): number } {
  let writes = 0;
  for (const name of WRITES) {
    IDBObjectStore.prototype[name] = function (this: IDBObjectStore, ...args: never[]) {
      if (++writes >= nth) {
        try {
          this.transaction.abort();
        } catch {
          // it has ended already
        }
        throw new Killed();
      }
      return (original[name] as (...all: unknown[]) => IDBRequest).apply(this, args);
    } as never;
  }
  return {
    alive() {
      for (const name of WRITES) IDBObjectStore.prototype[name] = original[name] as never;
    },
    writes: () => writes,
  };
}
