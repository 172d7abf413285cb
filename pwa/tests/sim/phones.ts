// Phones of a simulated plant: the app's own core, outbox, merge and storage, each on a disk and a clock of its own. What goes over the network goes
// through the pipe to the simulation, which decides what becomes of it.
import { createInterface } from "node:readline";
import { IDBFactory, IDBKeyRange, IDBObjectStore } from "fake-indexeddb";
import { createCore, type World } from "../../src/app/core";
import { AppError, type Core } from "../../src/app/types";
import { DeviceDb } from "../../src/store/device";
import { open, PersonDb } from "../../src/store/person";
import { alone } from "../../src/sync/locks";

import { type Saying, say } from "../../src/sync/outbox";

const PIN = "1234";

interface Answer {
  status?: number;
  body?: string;
  cookie?: string;
  cut?: boolean;
}

type Disk = { indexedDB: IDBFactory; IDBKeyRange: typeof globalThis.IDBKeyRange };
type Rows = Record<string, Record<string, unknown[]>>;

const waiting = new Map<number, (answer: Answer) => void>();
let calls = 0;
const tell = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function blank(): Disk {
  return { indexedDB: new IDBFactory(), IDBKeyRange: IDBKeyRange as unknown as typeof globalThis.IDBKeyRange };
}

class Phone {
  core!: Core;
  now = 0;
  cookie = "";
  persons = new Set<string>();

  constructor(
    readonly id: number,
    public disk: Disk,
  ) {}

  get person(): string {
    return this.core.lock.value === "open" ? (this.core.me.value?.id ?? "") : "";
  }

  async start(): Promise<void> {
    const world: Partial<World> = {
      ...this.disk,
      fetch: this.fetch,
      wall: () => this.now,
      exclusive: alone(),
      pinMs: 1,
      origin: "",
      lively: false,
    };
    this.core = createCore(world);
    await this.core.boot();
  }

  fetch = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = Object.fromEntries(new Headers(init.headers));
    const bytes = typeof init.body === "string" ? Buffer.from(init.body) : Buffer.from((init.body as Uint8Array | undefined) ?? []);
    const call = ++calls;
    const answered = new Promise<Answer>((resolve) => waiting.set(call, resolve));
    tell({ call, phone: this.id, path, headers, body: bytes.toString("base64"), cookie: this.cookie });
    const answer = await answered;
    if (answer.cut) throw new TypeError("the line broke");
    this.cookie = answer.cookie ?? this.cookie;
    const body = answer.status === 204 ? null : Buffer.from(answer.body ?? "", "base64");
    return new Response(body, { status: answer.status, headers: { "Content-Type": "application/json" } });
  };

  async device<T>(work: (db: DeviceDb) => Promise<T>): Promise<T> {
    const db = new DeviceDb(this.disk);
    try {
      return await work(db);
    } finally {
      db.close();
    }
  }

  async signIn(person: string): Promise<void> {
    await this.core.signIn(person, "right");
    this.persons.add(person);
    if (this.core.lock.value === "setPin") await this.core.setPin(PIN);
    if (this.core.lock.value === "locked") await this.core.unlock(person, PIN);
    await this.core.syncNow();
  }

  async say(saying: Saying, judged: boolean): Promise<boolean> {
    const { person, core } = this;
    if (!person) return false;
    if (!judged) {
      await this.device((db) => say(db, person, [saying], () => this.now));
      return true;
    }
    try {
      if (saying.verb === "new") {
        const [kind, id] = saying.doc.split("/") as [string, string];
        await core.create(kind, saying.fields, { id, anonymous: saying.anonymous });
      } else if (saying.verb === "set") await core.set(saying.doc, saying.fields);
      else if (saying.verb === "add") await core.add(saying.doc, saying.set, saying.item);
      else await core.act(saying.doc, saying.transition, saying.input);
      return true;
    } catch (error) {
      if (error instanceof AppError) return false; // the phone's own rules said no
      throw error;
    }
  }

  async sync(): Promise<{ online: boolean; trouble: string; complete: boolean }> {
    await this.core.syncNow();
    const { online, trouble } = this.core.sync.value;
    const complete = online && !trouble && this.person !== "" && this.core.sync.value.first === null;
    return { online, trouble: trouble?.code ?? "", complete };
  }

  /** What the person holds of the server's word, as it lies on the disk. */
  async held(): Promise<Record<string, [number, unknown]>> {
    const key = await this.device(async (db) => (await db.read("open"))?.key);
    if (!key || !this.person) return {};
    const db = new PersonDb(this.person, this.disk);
    try {
      const rows = await Promise.all((await db.docs.toArray()).map((row) => open(key, row)));
      return Object.fromEntries(rows.map((row) => [row.key, [row.seq, row.body]]));
    } finally {
      db.close();
    }
  }

  /** Documents as the screens see them, with own ops on top: their keys, and the seq of what the server said. */
  docs(): Record<string, number> {
    return Object.fromEntries(["job", "parked"].flatMap((kind) => this.core.list(kind).value.map((doc) => [doc.key, doc.seq])));
  }

  /** The screens' own tale of what is pending: nothing may be foretold once all is answered. */
  pending(): string[] {
    return ["job", "slip"].flatMap((kind) =>
      this.core
        .list(kind)
        .value.filter((doc) => doc.pending)
        .map((doc) => doc.key),
    );
  }

  async queue(): Promise<unknown> {
    return this.device(async (db) => {
      const current = await db.read("current");
      const forked = (await db.read("forked")) !== undefined;
      const rows = (await db.ops.toArray()).map((row) => [row.op, row.state, row.device === current && row.author === this.person]);
      return { rows, forked };
    });
  }

  async dump(): Promise<Rows> {
    const found: Rows = {};
    for (const { name } of await this.disk.indexedDB.databases()) {
      if (!name) continue;
      const db = name === "anlu-device" ? new DeviceDb(this.disk) : new PersonDb(name.slice("anlu-".length), this.disk);
      found[name] = {};
      for (const table of db.tables) found[name][table.name] = await table.toArray();
      db.close();
    }
    return found;
  }

  async fill(rows: Rows): Promise<void> {
    this.disk = blank();
    for (const [name, tables] of Object.entries(rows)) {
      const db = name === "anlu-device" ? new DeviceDb(this.disk) : new PersonDb(name.slice("anlu-".length), this.disk);
      for (const [table, all] of Object.entries(tables)) await db.table(table).bulkAdd(all);
      db.close();
    }
  }

  /** The app starts again over what is on its disk; the person comes back with their PIN. */
  async reopen(): Promise<void> {
    this.core.lockNow();
    const open = await this.device((db) => db.read("open"));
    await this.start();
    if (this.core.lock.value === "locked" && open) await this.core.unlock(open.person, PIN).catch(() => undefined);
  }
}

const WRITES = ["put", "add", "delete", "clear"] as const;
const original = Object.fromEntries(WRITES.map((name) => [name, IDBObjectStore.prototype[name]]));

/** Kill the app at its nth write from now: that write, its transaction and everything after it never happen. */
function killAt(nth: number): () => void {
  let writes = 0;
  for (const name of WRITES) {
    IDBObjectStore.prototype[name] = function (this: IDBObjectStore, ...args: never[]) {
      if (++writes >= nth) {
        try {
          this.transaction.abort();
        } catch {
          // it has ended already
        }
        throw new Error("killed");
      }
      return (original[name] as (...all: unknown[]) => IDBRequest).apply(this, args);
    } as never;
  }
  return () => {
    for (const name of WRITES) IDBObjectStore.prototype[name] = original[name] as never;
  };
}

interface Task {
  do: number;
  phone: number;
  what: string;
  now: number;
  person?: string;
  saying?: Saying;
  judged?: boolean;
  other?: number;
  nth?: number;
}

const phones = new Map<number, Phone>();
const snapshots = new Map<number, Rows>();

async function perform(task: Task): Promise<unknown> {
  if (task.what === "begin") {
    const phone = new Phone(task.phone, blank());
    phones.set(task.phone, phone);
    phone.now = task.now;
    return phone.start();
  }
  if (task.what === "end") {
    for (const one of phones.values()) one.core.lockNow();
    phones.clear();
    snapshots.clear();
    return;
  }
  const phone = phones.get(task.phone) as Phone;
  phone.now = task.now;
  switch (task.what) {
    case "sign_in":
      return phone.signIn(task.person as string);
    case "sign_out":
      return phone.core.lockNow();
    case "say":
      return phone.say(task.saying as Saying, task.judged === true);
    case "sync":
      return phone.sync();
    case "held":
      return phone.held();
    case "docs":
      return phone.docs();
    case "pending":
      return phone.pending();
    case "queue":
      return phone.queue();
    case "keep":
      return void snapshots.set(task.phone, await phone.dump());
    case "roll_back": {
      const kept = snapshots.get(task.phone);
      if (!kept) return;
      phone.core.lockNow();
      await phone.fill(kept);
      return phone.reopen();
    }
    case "clone": {
      const other = new Phone(task.other as number, blank());
      await other.fill(await phone.dump());
      other.now = task.now;
      other.cookie = phone.cookie;
      phones.set(other.id, other);
      return other.start();
    }
    case "reopen": {
      if (task.nth) {
        const alive = killAt(task.nth);
        const log = console.error;
        console.error = () => undefined; // the core tells of the kill, as it should
        await phone.sync().catch(() => undefined);
        console.error = log;
        alive();
      }
      return phone.reopen();
    }
    case "evict":
      phone.core.lockNow();
      phone.disk = blank();
      phone.cookie = "";
      return phone.start();
    case "clear_cache": {
      const person = phone.person;
      if (!person) return;
      phone.core.lockNow();
      const db = new PersonDb(person, phone.disk);
      await db.clear();
      db.close();
      await phone.start();
      return phone.core.unlock(person, PIN);
    }
    case "lose":
      return phone.device(async (db) => {
        const queued = (await db.ops.where("state").equals("queued").toArray()).sort((a, b) => a.n - b.n).slice(0, task.nth ?? 1);
        await db.ops.bulkDelete(queued.map((row) => row.op));
      });
  }
  throw new Error(`nobody knows how to ${task.what}`);
}

/** Answer tasks until the input ends. */
export async function serve(): Promise<void> {
  tell({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const said = JSON.parse(line) as Task & Answer & { answer?: number };
    if (said.answer !== undefined) {
      waiting.get(said.answer)?.(said);
      waiting.delete(said.answer);
      continue;
    }
    void perform(said).then(
      async (result) => {
        const phone = phones.get(said.phone);
        const device = phone ? await phone.device((db) => db.read("current")) : 0;
        tell({ done: said.do, result: result ?? null, person: phone?.person ?? "", device: device ?? 0 });
      },
      (error: unknown) => {
        const code = (error as { code?: string }).code ?? "";
        tell({
          done: said.do,
          error: code,
          text: code ? "" : String((error as Error)?.stack ?? error),
          person: phones.get(said.phone)?.person ?? "",
        });
      },
    );
  }
}
