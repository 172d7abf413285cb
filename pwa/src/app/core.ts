// The phone's data behind the screens: who is here, what they hold, what they said. Whatever lasts is in IndexedDB before its promise resolves; whatever
// is shown is in memory. What is heavy (kinds, sealing, uploading) is loaded when it is first needed.
import { computed, ref, shallowRef } from "vue";
import { type PhotoOf, photosOf } from "../media/named";
import { type Clock, DeviceDb, FRESH_CLOCK, type OpRow, type PersonRow, type Surroundings } from "../store/device";
import { Documents, type Shown } from "../store/documents";
import { everything, type Held, keepPicture, open as openRow, PersonDb, picture as seen } from "../store/person";
import { calibrate, IDLE_MS_MAX, isPin, unwrap, WRONG_PINS_MAX, wrapNewKey } from "../store/pin";
import { askPersistent, isFull, usage } from "../store/usage";
import { tokenTimes } from "../sync/crypto";
import { type Listening, listen } from "../sync/events";
import { uuid7 } from "../sync/ids";
import { type Exclusive, exclusive } from "../sync/locks";
import { backoff, type Fetch, HttpError, json, Offline, pause, send } from "../sync/net";
import type { Values } from "../sync/op";
import { believed, dismiss, exported, opened, type Saying, say, tidy } from "../sync/outbox";
import { pull } from "../sync/pull";
import { deviceForSignIn, hear, type Means, pin as pinKeys, push, type SignedIn, type Timed, takeDevice, type Trouble } from "../sync/push";
import { Overlay, type Standing } from "../sync/replay";
import type { Flow } from "../sync/rules";
import { basicView } from "../sync/view";
import { deviceLabel } from "./label";
import { Slices } from "./slices";
import { type Answer, AppError, type Core, type Label, type Me, type MediaItem, type OutboxItem, type SyncState } from "./types";

/** What the core takes from its surroundings; tests give their own. */
export interface World extends Surroundings {
  fetch: Fetch;
  /** the phone's wall clock, Unix ms */
  wall(): number;
  exclusive: Exclusive;
  /** how long one try of a PIN may take on this phone, ms */
  pinMs: number;
  /** address of our server; empty in the browser */
  origin: string;
  /** react to the browser's events and sync by itself; off where a test drives every step */
  lively: boolean;
}

const PIN_MS = 400;
const REFRESH_BEFORE_MS = 48 * 3_600_000;
const OUTBOX_SHOWN_MS = 24 * 3_600_000;
const SIGN_OUT_PUSH_MS_MAX = 5_000;
const SAID_PUSH_AFTER_MS = 150;
const ACTIVE_NOTED_MS = 20_000;
const LOOK_EVERY_MS = 15_000;
/** A locked phone that nobody touches asks so often whether the server is still the one it knows. */
const ASK_EVERY_MS = 300_000;
const OPENED_BY_MS = 1_500;
/** While thousands are read from the phone, lists are made anew this often. */
const WAKE_EVERY_MS = 500;

interface Space {
  db: PersonDb;
  key: CryptoKey;
  person: PersonRow;
  /** everything held is in memory */
  whole: boolean;
  /** resolves when it is; false if the space was left before */
  loaded: Promise<boolean>;
}

export function createCore(given: Partial<World> = {}): Core {
  const world: World = {
    fetch: (path, init) => globalThis.fetch(path, { credentials: "same-origin", ...init }),
    wall: () => Date.now(),
    exclusive,
    pinMs: PIN_MS,
    origin: "",
    lively: typeof window !== "undefined",
    ...given,
  };
  const surroundings: Surroundings = given.indexedDB ? { indexedDB: given.indexedDB, IDBKeyRange: given.IDBKeyRange } : {};
  const { wall } = world;
  const db = new DeviceDb(surroundings);
  const channel = world.lively && typeof BroadcastChannel !== "undefined" ? new BroadcastChannel("anlu") : null;

  const people: Core["people"] = shallowRef([]);
  const me: Core["me"] = shallowRef(null);
  const lock: Core["lock"] = ref("none");
  const outbox: Core["outbox"] = shallowRef([]);
  const uploads: Core["uploads"] = shallowRef([]);
  const sync: Core["sync"] = ref({
    online: globalThis.navigator?.onLine !== false,
    last: null,
    running: false,
    first: null,
    loading: null,
    trouble: null,
    clock: "good",
  });
  const storage: Core["storage"] = ref({ persistent: false, used: 0, quota: 0, nearlyFull: false });
  const lost: Core["lost"] = shallowRef(null);
  const unsentOfAll = shallowRef<{ author: string; at: number }[]>([]);
  const unsent = computed(() => {
    // Whoever is here has it from the very list that the outbox shows, so that the two never tell different numbers.
    const shown = me.value ? outbox.value.filter((item) => item.state === "queued" || item.state === "sending") : unsentOfAll.value;
    const going = uploads.value.filter(isGoing);
    const photos = me.value ? going.filter((photo) => photo.author === me.value?.id) : going;
    const since = [...shown, ...photos].map(({ at }) => at);
    return { count: shown.length, photos: photos.length, oldestAt: since.length ? Math.min(...since) : null };
  });

  const failed = computed(() =>
    uploads.value.filter((photo) => photo.state === "failed" && photo.of !== "form" && photo.author === me.value?.id),
  );

  let clock: Clock = FRESH_CLOCK;
  let device = 0;
  let space: Space | null = null;
  /** chooses a PIN now */
  let choosing: PersonRow | null = null;
  /** has proven who they are with a password, in this run of the app */
  let proven: string | null = null;
  let flow: Flow | null = null;
  let rows: OpRow[] = [];
  let through = 0;
  let sending: ReadonlySet<string> = new Set();
  let listening: Listening | null = null;
  let active = 0;
  let failures = 0;
  let uploadFailures = 0;
  let photoOf: ReadonlyMap<string, { of: PhotoOf; doc: string }> = new Map();
  let retry: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | null = null;
  let again = false;
  let uploading: Promise<void> | null = null;
  const held = new Map<string, Held>();
  const troubled = new Set<string>();
  const pictures = new Map<string, Promise<string | null>>();
  const overlay = new Overlay(
    (key) => held.get(key),
    () => flow,
  );
  const documents = new Documents(find, (key, standing) => (flow ? flow.view(key, standing) : basicView(key, standing)));

  const note = (change: Partial<SyncState>): void => {
    sync.value = { ...sync.value, ...change };
  };

  function noteClock(): void {
    const stands = believed(clock, wall()).wrong ? "wrong" : clock.unsure ? "unsure" : "good";
    if (sync.value.clock !== stands) note({ clock: stands });
  }

  /** Somebody or something has cleared this phone's data under the open app. What was in memory only looks kept: it is shown no longer. */
  async function lookForLoss(): Promise<void> {
    if (!device || (await db.read("current").catch(() => 0)) !== undefined || !device) return;
    const photos = uploads.value.filter(isGoing).length;
    lost.value = { count: Math.max(unsentOfAll.value.length, unsent.value.count), photos };
    device = 0;
    clock = FRESH_CLOCK;
    proven = null;
    leave();
    await Promise.all([readPeople(), readUnsent(), readUploads()]);
    lock.value = "none";
    note({ first: null, loading: null, trouble: null, last: null });
  }

  // ---- who is here ----

  async function boot(): Promise<void> {
    db.on("close", () => void lookForLoss());
    clock = (await db.read("clock")) ?? FRESH_CLOCK;
    device = (await db.read("current")) ?? 0;
    await Promise.all([readPeople(), readUnsent(), readUploads()]);
    const open = await db.read("open");
    const person = open && (await db.people.get(open.person));
    const now = wall();
    // A clock that was set back gives nobody more time.
    const fresh = open !== undefined && open.since - 60_000 <= now && now < open.until;
    if (fresh && person?.wrap && open.key) await enter(person, open.key);
    else if (fresh && person && !open.key) await choosePin(person);
    else {
      if (open) await db.drop("open");
      lock.value = people.value.length ? "locked" : "none";
    }
    noteClock();
    storage.value = await usage();
    if (world.lively) live();
    if (!space) soon();
  }

  async function readPeople(): Promise<void> {
    const found = (await db.people.toArray()).sort((a, b) => b.seen - a.seen);
    people.value = found.map(({ id, names, wrap }) => ({ id, names, hasPin: wrap !== undefined }));
  }

  async function signIn(username: string, password: string): Promise<void> {
    await welcome(await enterAt("/api/auth/sign-in", { username, password }));
  }

  async function setUp(code: string, names: Label, username: string, password: string): Promise<void> {
    await welcome(await enterAt("/api/auth/setup", { code, name: names, username, password }));
  }

  async function resetPin(person: string, username: string, password: string): Promise<void> {
    await welcome(await enterAt("/api/auth/pin-reset", { person, username, password }));
    await newPin();
  }

  /** One of the routes that answer as sign-in does. Throws AppError `auth.offline`, `auth.wrong` and what else the server says. */
  async function enterAt(path: string, body: Values): Promise<SignedIn> {
    const nonce = async () => (await json<{ nonce: string }>(await send(world.fetch, `${world.origin}/api/auth/nonce`))).nonce;
    const ask = async (): Promise<SignedIn> => {
      const asked = JSON.stringify({ ...body, device: await deviceForSignIn(db, nonce, label()) });
      const answer = await post<SignedIn & { signed_in?: SignedIn }>(path, asked);
      return { ...(answer.signed_in ?? answer), sent: answer.sent, came: answer.came };
    };
    try {
      return await ask().catch(async (error) => {
        if (!(error instanceof HttpError) || error.code !== "auth.proof") throw error;
        // A server restored from before this phone's registration learns of it from the certificate that its queue carries.
        await world.exclusive("anlu-sync", () => push({ ...means(), registerAnew: undefined, ask: true }));
        return ask();
      });
    } catch (error) {
      // Who has forgotten a PIN is not sent back to it.
      throw error instanceof Offline ? new AppError(path.endsWith("pin-reset") ? "auth.reset_offline" : "auth.offline") : error;
    }
  }

  /** The server has said who this is: open their space, ask for their PIN, or let them choose one. */
  async function welcome(said: SignedIn): Promise<void> {
    const { id, names, caps } = said.person;
    await take(said);
    const known = await db.people.get(id);
    const person: PersonRow = { wrong: 0, ...known, id, names, caps, seen: wall() };
    await db.people.put(person);
    await db.drop("signOutDue");
    await readPeople();
    proven = id;
    lost.value = null;
    note({ trouble: null, online: true });
    if (space?.person.id === id) {
      space.person = person;
      await syncNow();
    } else if (person.wrap) {
      leave();
      await db.drop("open");
      lock.value = "locked";
    } else await choosePin(person);
  }

  /** What sign-in and refresh give the phone. */
  async function take(said: SignedIn): Promise<void> {
    await pinKeys(db, said.keys.keys);
    await takeDevice(db, said.device, said.certificate);
    await db.transaction("rw", db.meta, db.tokens, async () => {
      await hear(db, said);
      await db.tokens.add({ person: said.person.id, device: said.device, token: said.author_token, ...tokenTimes(said.author_token) });
    });
    clock = (await db.read("clock")) ?? FRESH_CLOCK;
    device = said.device;
  }

  async function choosePin(person: PersonRow): Promise<void> {
    leave();
    choosing = person;
    await db.write("open", { person: person.id, key: null, since: wall(), until: wall() + IDLE_MS_MAX });
    me.value = standing(person);
    lock.value = "setPin";
  }

  async function setPin(digits: string): Promise<void> {
    const person = choosing;
    if (!person) throw new AppError("auth.expired");
    if (!isPin(digits)) throw new AppError("auth.pin_form");
    const { key, wrap } = await wrapNewKey(digits, await calibrate(world.pinMs));
    await clearSpace(person.id); // nothing under an older key can be read any more
    await db.people.update(person.id, { wrap, wrong: 0 });
    await readPeople();
    proven = null;
    await enter({ ...person, wrap, wrong: 0 }, key);
  }

  async function newPin(): Promise<void> {
    const person = proven ? await db.people.get(proven) : undefined;
    if (!person) throw new AppError("auth.expired");
    await db.people.update(person.id, { wrap: undefined, wrong: 0 });
    await readPeople();
    await choosePin({ ...person, wrap: undefined, wrong: 0 });
  }

  async function unlock(id: string, digits: string): Promise<void> {
    // The try is counted before it is made: closing the app in the middle gives no free guess.
    const person = await db.transaction("rw", db.people, async () => {
      const found = await db.people.get(id);
      if (found?.wrap && found.wrong < WRONG_PINS_MAX) await db.people.update(id, { wrong: found.wrong + 1 });
      return found;
    });
    if (!person?.wrap) throw new AppError("auth.pin_cleared");
    const key = person.wrong < WRONG_PINS_MAX ? await unwrap(digits, person.wrap) : null;
    if (key) {
      await db.people.update(id, { wrong: 0 });
      return enter({ ...person, wrong: 0 }, key);
    }
    const left = WRONG_PINS_MAX - person.wrong - 1;
    if (left > 0) throw new AppError("auth.pin_wrong", { left });
    await db.people.update(id, { wrap: undefined, wrong: 0 });
    await clearSpace(id);
    await readPeople();
    throw new AppError("auth.pin_cleared");
  }

  async function clearSpace(id: string): Promise<void> {
    const own = new PersonDb(id, surroundings);
    await own.clear();
    own.close();
  }

  async function enter(person: PersonRow, key: CryptoKey): Promise<void> {
    leave();
    const opening: Space = { db: new PersonDb(person.id, surroundings), key, person, whole: false, loaded: Promise.resolve(false) };
    space = opening;
    active = 0;
    await keepOpen();
    const place = await opening.db.place();
    through = place.through;
    note({ last: place.last, first: null, trouble: null });
    noteClock();
    try {
      await Promise.all([readRows(), loadFlow()]);
    } catch (error) {
      if (space === opening) lockNow();
      throw isFull(error) ? new AppError("storage.full") : new AppError("net.offline"); // a part of the app could not be loaded
    }
    if (space !== opening) return;

    // Own ops can be replayed, and new ones judged, only over everything. A space so large that this takes long opens before that, with its progress in view.
    let woken = wall();
    opening.loaded = (async () => {
      for await (const { held: batch, done, total } of everything(opening.db, key)) {
        if (space !== opening || !(await takeInGently(opening, batch))) return false;
        note({ loading: { done, total } });
        if (wall() - woken > WAKE_EVERY_MS) {
          documents.wake();
          woken = wall();
        }
      }
      if (space !== opening) return false;
      documents.wake();
      note({ loading: null });
      replay();
      opening.whole = true;
      soon(0);
      return true;
    })().catch((error) => {
      if (space === opening) throw error;
      return false; // it was left in the middle of reading
    });
    await Promise.race([opening.loaded, new Promise((resolve) => setTimeout(resolve, OPENED_BY_MS))]);
    if (space !== opening) return;
    me.value = standing(person);
    lock.value = "open";
    channel?.postMessage({ opened: person.id });
    if (world.lively)
      listening = listen({
        url: () => `${world.origin}/api/sync/events?${new URLSearchParams({ person: person.id, device: String(device) })}`,
        poke: () => soon(0),
      });
  }

  /** Forget everything of the open space. On disk it stays, locked. */
  function leave(): void {
    listening?.stop();
    listening = null;
    space?.db.close();
    space = null;
    choosing = null;
    me.value = null;
    rows = [];
    held.clear();
    troubled.clear();
    overlay.rebuild([], 0);
    flow?.forget();
    documents.clear();
    for (const picture of pictures.values()) void picture.then((url) => url && URL.revokeObjectURL(url));
    pictures.clear();
    showOutbox();
  }

  function lockNow(): void {
    leave();
    lock.value = people.value.length ? "locked" : "none";
    note({ first: null, loading: null, trouble: null });
    void db.drop("open");
    channel?.postMessage({ locked: true });
  }

  async function signOut(): Promise<void> {
    const person = space?.person.id ?? choosing?.id;
    if (person) {
      const patience = new Promise((resolve) => setTimeout(resolve, SIGN_OUT_PUSH_MS_MAX));
      await Promise.race([syncNow(), patience]);
      await tellSignOut(person);
    }
    proven = null;
    leave();
    await db.drop("open");
    lockNow();
  }

  async function tellSignOut(person: string): Promise<void> {
    try {
      await send(world.fetch, `${world.origin}/api/auth/sign-out`, { method: "POST", headers: named(person) });
      await db.drop("signOutDue");
    } catch (error) {
      // Without a network the session goes on until the server hears of it; here the space is locked either way.
      if (error instanceof Offline) await db.write("signOutDue", person);
      else await db.drop("signOutDue");
    }
  }

  async function keepOpen(): Promise<void> {
    const at = wall();
    if (!space || Math.abs(at - active) < ACTIVE_NOTED_MS) return;
    active = at;
    try {
      await db.write("open", { person: space.person.id, key: space.key, since: at, until: at + IDLE_MS_MAX });
    } catch (error) {
      // Without room the PIN is asked for sooner; whoever wants to send and make room must get in.
      if (!isFull(error)) throw error;
    }
  }

  function standing(person: PersonRow): Me {
    const caps = flow?.caps(person.id) ?? person.caps ?? {};
    const has = (cap: string, area?: string | null): boolean => {
      const where = caps[cap] ?? [];
      return where.includes("*") || (area ? where.includes(area) : where.length > 0);
    };
    return { id: person.id, names: person.names, device, caps, has };
  }

  // ---- what they hold ----

  function find(key: string): Shown | undefined {
    const top = overlay.tops.get(key);
    const found: Standing | undefined = top ?? held.get(key);
    return found && { key, seq: found.seq, body: found.body, pending: top !== undefined, troubled: troubled.has(key) };
  }

  function takeIn(batch: readonly Held[], gone: readonly string[] = []): void {
    const { kinds, rights } = holdNow(batch, gone);
    // Kinds are documents too: what is of a kind that came reads differently now.
    for (const kind of kinds) documents.kindChanged(kind);
    documents.wake();
    if (rights) lookAtRights();
  }

  /** The same for hundreds, in slices, and without waking the lists. False where the space was left in between. */
  async function takeInGently(here: Space, batch: readonly Held[], gone: readonly string[] = []): Promise<boolean> {
    const slices = new Slices();
    let rights = holdNow([], gone).rights;
    for (const one of batch) {
      const came = holdNow([one], []);
      rights ||= came.rights;
      documents.peek(one.key);
      for (const kind of came.kinds)
        for (const key of documents.keys(kind)) {
          documents.changed([key], false);
          documents.peek(key);
          if (slices.over()) await slices.pause();
          if (space !== here) return false;
        }
      if (slices.over()) await slices.pause();
      if (space !== here) return false;
    }
    if (rights) lookAtRights();
    return true;
  }

  function holdNow(batch: readonly Held[], gone: readonly string[]): { kinds: string[]; rights: boolean } {
    const news = batch.filter((now) => {
      const known = held.get(now.key);
      return !known || known.round < now.round || known.seq < now.seq;
    });
    for (const now of news) held.set(now.key, now);
    for (const key of gone) held.delete(key);
    const keys = [...news.map((now) => now.key), ...gone];
    documents.changed(keys, false);
    return { kinds: flow?.observe(keys) ?? [], rights: keys.some((key) => /^(?:plant|person|area)\//.test(key)) };
  }

  function lookAtRights(): void {
    if (!me.value || !space) return;
    const now = standing(space.person);
    if (JSON.stringify(now.caps) !== JSON.stringify(me.value.caps)) me.value = now;
  }

  /** Put own ops on top anew: the server's word or the list of ops has changed. */
  function replay(): void {
    const before = [...troubled];
    troubled.clear();
    for (const row of rows) if (row.state === "parked" || (row.state === "refused" && !row.dismissed)) troubled.add(row.doc);
    documents.changed(new Set([...overlay.rebuild(rows, through), ...before, ...troubled]));
    showOutbox();
  }

  async function loadFlow(): Promise<void> {
    if (flow) return;
    const { createFlow } = await import("../sync/rules");
    flow = createFlow({ get: (key) => overlay.standing(key), keys: (kind) => documents.keys(kind), me: () => space?.person.id ?? "", now });
  }

  // ---- what they say ----

  async function create(kind: string, fields: Values, opts: { anonymous?: boolean; id?: string } = {}): Promise<string> {
    const found = rules().kind(kind);
    if (!found) throw new AppError("op.awaits_kind", { kind });
    const key = `${kind}/${opts.id ?? uuid7(now(), crypto.getRandomValues(new Uint8Array(10)))}`;
    await speak({
      verb: "new",
      doc: key,
      version: found.version,
      fields: plain(fields),
      anonymous: opts.anonymous,
      seal: rules().personal(kind, found.version, "new"),
    });
    return key;
  }

  async function set(key: string, fields: Values): Promise<void> {
    const { kind, version } = described(key);
    await speak({ verb: "set", doc: key, fields: plain(fields), seal: rules().personal(kind, version, "set") });
  }

  async function add(key: string, name: string, item: Values): Promise<string> {
    const { kind, version } = described(key);
    const itemId = uuid7(now(), crypto.getRandomValues(new Uint8Array(10)));
    await speak({ verb: "add", doc: key, set: name, itemId, item: plain(item), seal: rules().personal(kind, version, "add", name) });
    return itemId;
  }

  async function act(key: string, transition: string, input: Values = {}): Promise<void> {
    const { kind, version, seq } = described(key);
    await speak({
      verb: "act",
      doc: key,
      transition,
      input: plain(input),
      base: seq,
      seal: rules().personal(kind, version, "act", transition),
    });
  }

  async function sayAgain(op: string): Promise<void> {
    const row = rows.find((one) => one.op === op && one.state === "refused" && !one.dismissed);
    const said = row && opened(row);
    if (!row || said?.verb !== "new") return;
    const kind = row.doc.slice(0, row.doc.indexOf("/"));
    const found = rules().kind(kind);
    if (!found) throw new AppError("op.awaits_kind", { kind });
    const seal = rules().personal(kind, found.version, "new");
    await speak({ verb: "new", doc: row.doc, version: found.version, fields: said.fields, anonymous: row.anonymous, seal });
    await dismiss(db, op);
    await readRows();
    replay();
  }

  /** Refused here if the phone's own machine refuses: nobody is sent away to find out later. A stop is always said. */
  async function speak(saying: Saying): Promise<void> {
    const here = space;
    if (!here || !(await here.loaded)) throw new AppError("auth.locked");
    if (saying.verb === "add" || saying.verb === "act") saying.anonymous = await begunUnnamed(saying.doc, here.person.id);
    const answer = judge(saying);
    if (!answer.ok) throw new AppError(answer.code ?? "op.malformed", answer.params);
    const made = await say(db, here.person.id, [saying], wall).catch(async (error) => {
      await lookForLoss();
      throw lost.value ? new AppError("storage.cleared") : error;
    });
    clock = (await db.read("clock")) ?? clock;
    if (space === here) {
      rows = [...rows, ...made];
      documents.changed(made.flatMap((row) => [...overlay.play(row, through)]));
      showOutbox();
      noteClock();
    }
    await readUnsent();
    if (made.some((row) => row.media.length > 0)) await readUploads();
    channel?.postMessage({ said: here.person.id });
    void keepOpen();
    void wakeWorker();
    soon(SAID_PUSH_AFTER_MS);
  }

  /** Whoever reported without a name does not give it away by adding to the report. */
  async function begunUnnamed(key: string, person: string): Promise<boolean> {
    return (
      (await db.ops
        .where("doc")
        .equals(key)
        .filter((row) => row.verb === "new" && row.anonymous && row.author === person)
        .count()) > 0
    );
  }

  function judge(saying: Saying): Answer {
    if (!space || !flow) return { ok: false, code: "auth.locked" };
    const { now: at, wrong } = believed(clock, wall());
    const situation = { author: space.person.id, device, at, online: sync.value.online, unsure: clock.unsure || wrong };
    return flow.may(saying, situation);
  }

  function may(key: string, transition: string, input: Values = {}): Answer {
    return judge({ verb: "act", doc: key, transition, input: plain(input), base: overlay.standing(key)?.seq ?? 0 });
  }

  function mayCreate(kind: string, fields: Values = {}): Answer {
    const version = flow?.kind(kind)?.version;
    if (version === undefined) return { ok: false, code: "op.awaits_kind", params: { kind } };
    return judge({ verb: "new", doc: `${kind}/00000000-0000-7000-8000-000000000000`, version, fields: plain(fields) });
  }

  function rules(): Flow {
    if (!flow) throw new AppError("auth.locked");
    return flow;
  }

  function described(key: string): { kind: string; version: number; seq: number } {
    const found = overlay.standing(key);
    if (!found) throw new AppError("op.awaits_document", { doc: key });
    return { kind: key.slice(0, key.indexOf("/")), version: found.body.version, seq: held.get(key)?.seq ?? 0 };
  }

  // ---- the queue on screen ----

  async function readRows(): Promise<void> {
    const person = space?.person.id;
    if (!person) return;
    const of = (settled: 0 | 1, from: number) =>
      db.ops
        .where("[author+settled+at]")
        .between([person, settled, from], [person, settled, Number.MAX_SAFE_INTEGER], true, true)
        .toArray();
    const found = (await Promise.all([of(0, 0), of(1, now() - OUTBOX_SHOWN_MS)])).flat();
    if (space?.person.id === person) rows = found;
  }

  async function readUnsent(): Promise<void> {
    const found = await db.ops.where("state").equals("queued").toArray();
    // Data that was cleared under the open app is no empty queue: what there was is still to be told.
    if (device && (await db.read("current")) === undefined) return void lookForLoss();
    unsentOfAll.value = found.map(({ author, at }) => ({ author, at }));
  }

  function showOutbox(): void {
    outbox.value = rows
      .filter((row) => !row.dismissed)
      .sort((a, b) => b.at - a.at || b.hlc - a.hlc)
      .map(item);
  }

  function item(row: OpRow): OutboxItem {
    const { op, n, at, author, doc, verb, what, code, params } = row;
    const state = row.state === "queued" && sending.has(op) ? "sending" : row.state;
    const said = row.state === "refused" || row.state === "parked" || row.state === "queued" ? opened(row) : null;
    const values = said && (said.verb === "add" ? said.item : said.verb === "act" ? said.input : said.fields);
    return { op, n, at, author, doc, verb, what, state, said: values, ...(code ? { code, params: params ?? {} } : {}) };
  }

  // ---- to and from the server ----

  function means(): Means {
    return {
      db,
      fetch: (path, init) => world.fetch(`${world.origin}${path}`, init),
      wall,
      sending: (ops) => {
        sending = new Set(ops);
        showOutbox();
      },
      registerAnew: space ? registerAnew : undefined,
    };
  }

  async function registerAnew(): Promise<void> {
    const nonce = async () => (await json<{ nonce: string }>(await send(world.fetch, `${world.origin}/api/auth/nonce`))).nonce;
    await take(await post<SignedIn>("/api/auth/refresh", JSON.stringify({ device: await deviceForSignIn(db, nonce, label()) })));
  }

  /** Sync before long; calls in between count as one. */
  function soon(after = 0): void {
    if (!world.lively) return;
    clearTimeout(retry);
    retry = setTimeout(() => void syncNow(), after);
  }

  async function syncNow(): Promise<void> {
    if (running) {
      again = true;
      return running;
    }
    running = (async () => {
      do {
        again = false;
        await round();
      } while (again && sync.value.online);
    })();
    try {
      await running;
    } finally {
      running = null;
    }
  }

  let asked = 0;
  /** Push, then pull. Never throws: what stands in the way is in `sync`. */
  async function round(): Promise<void> {
    note({ running: true });
    let trouble: Trouble | null = null;
    let wait: number | null = null;
    try {
      await world.exclusive("anlu-sync", async () => {
        // Where nobody can pull, a restored server is known by its answer to a question alone: what it lost is brought back all the same.
        if (!space) asked = wall();
        trouble = await push({ ...means(), ask: !space });
        await afterPush();
        const due = await db.read("signOutDue");
        if (due && !space) await tellSignOut(due);
        if (space?.whole && !(await db.read("resend"))) {
          const mine = await take_turn();
          if (mine?.code.startsWith("auth.")) {
            await push({ ...means(), ask: true });
            await afterPush();
          }
          trouble = mine ?? trouble;
        }
      });
      failures = 0;
      note({ online: true });
      void upload();
    } catch (error) {
      if (error instanceof Offline) note({ online: false });
      else if (!(error instanceof HttpError)) console.error(error);
      if (isFull(error)) trouble = { code: "storage.full_sync", params: {} };
      failures++;
      wait = pause(error, failures);
    }
    note({ running: false, trouble });
    if (wait !== null) soon(wait);
  }

  async function afterPush(): Promise<void> {
    clock = (await db.read("clock")) ?? clock;
    device = (await db.read("current")) ?? device;
    await Promise.all([readRows(), readUnsent(), uploads.value.some((photo) => photo.state !== "sent") ? readUploads() : undefined]);
    if (space) replay();
    noteClock();
  }

  /** What needs a session: a fresh token, the pull, and word of what this phone still holds. */
  async function take_turn(): Promise<Trouble | null> {
    const here = space;
    if (!here) return null;
    const person = here.person.id;
    const headers = named(person);
    try {
      await refreshToken(person);
      for (let restored = 0; restored < 3; restored++) {
        const end = await pull({
          device: db,
          db: here.db,
          key: here.key,
          fetch: (path, init) => world.fetch(`${world.origin}${path}`, init),
          headers,
          wall,
          page: async ({ put, gone, place }) => {
            if (space !== here) throw new Offline();
            through = place.through;
            if (!(await takeInGently(here, put, gone))) throw new Offline();
            documents.wake();
            await readRows();
            replay();
            note({
              first: place.last === null || place.sweeping ? { done: place.done, total: Math.max(place.done, place.total) } : null,
              last: place.last,
            });
            channel?.postMessage({ pulled: person, put: put.map((now) => now.key), gone });
          },
        });
        if (end === "done") break;
        const trouble = await push(means());
        await afterPush();
        if (trouble) return trouble;
      }
      const settled = rows
        .filter((row) => row.state === "accepted" && !row.settled && row.seq !== null && row.seq <= through)
        .map((row) => row.op);
      await tidy(db, settled, now());
      if (settled.length) {
        await readRows();
        replay();
      }
      await report(person);
      return null;
    } catch (error) {
      if (!(error instanceof HttpError) || error.status >= 500 || error.status === 429) throw error;
      const open = await db.read("open");
      // Somebody else has the phone now: what is on this screen is not theirs to see.
      if (error.code === "auth.other_session" && space === here && open && open.person !== person) lockNow();
      return { code: error.code, params: error.params };
    }
  }

  async function refreshToken(person: string): Promise<void> {
    const tokens = await db.tokens.where("person").equals(person).toArray();
    const newest = Math.max(0, ...tokens.filter((token) => token.device === device).map((token) => token.until));
    if (newest - now() > REFRESH_BEFORE_MS) return;
    await take(await post<SignedIn>("/api/auth/refresh", "{}"));
  }

  let reported = "";
  async function report(person: string): Promise<void> {
    const kept = await db.ops.filter((row) => row.bytes !== null).count();
    const photos = uploads.value.filter(isGoing);
    const since = [...unsentOfAll.value, ...photos].map(({ at }) => at);
    const oldest = since.length ? Math.min(...since) : null;
    const body = JSON.stringify({ held: kept, unsent: unsentOfAll.value.length, photos: photos.length, oldest_at: oldest });
    if (body === reported) return;
    const headers = { ...named(person), "Content-Type": "application/json" };
    await send(world.fetch, `${world.origin}/api/devices/report`, { method: "POST", headers, body });
    reported = body;
  }

  function named(person: string): Record<string, string> {
    return { "Anlu-Person": person, "Anlu-Device": String(device) };
  }

  async function post<T>(path: string, body: string): Promise<T & Timed> {
    const headers = { ...(space ? named(space.person.id) : {}), "Content-Type": "application/json" };
    const sent = wall();
    const answer = await json<T>(await send(world.fetch, `${world.origin}${path}`, { method: "POST", headers, body }));
    return { ...answer, sent, came: wall() };
  }

  async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
    const headers = new Headers(init.headers);
    if (me.value) for (const [name, value] of Object.entries(named(me.value.id))) headers.set(name, value);
    if (typeof init.body === "string" && !headers.has("Content-Type")) headers.set("Content-Type", "application/json");
    try {
      const response = await send(world.fetch, `${world.origin}${path}`, { ...init, headers });
      if (response.status === 204) return undefined as T;
      return response.headers.get("Content-Type")?.includes("json") ? await json<T>(response) : ((await response.blob()) as T);
    } catch (error) {
      if (
        error instanceof HttpError &&
        (error.status === 401 || ["auth.other_session", "auth.device_retired"].includes(error.code)) &&
        me.value
      )
        note({ trouble: { code: error.code, params: error.params } });
      throw error;
    }
  }

  // ---- photos ----

  async function keepPhoto(file: Blob): Promise<import("./types").MediaValue> {
    const author = space?.person.id;
    if (!author) throw new AppError("auth.locked");
    const [{ downsize }, { keep }] = await Promise.all([import("../media/photo"), import("../media/uploads")]);
    const value = await keep(db, await downsize(file), author, now());
    await readUploads();
    storage.value = await usage();
    return value;
  }

  /** `anew`: look at the ops too, since what names a photo may have changed. */
  async function readUploads(anew = true): Promise<void> {
    const found = await db.media.toArray();
    const waiting = found.some((row) => row.state !== "sent");
    if (anew) photoOf = photosOf(waiting ? await db.ops.filter((row) => row.media?.length > 0).toArray() : []);
    uploads.value = found.map(({ sha256, type, size, sent, at, state, author, code }) => ({
      sha256,
      type,
      size,
      sent,
      at,
      state,
      author,
      of: photoOf.get(sha256)?.of ?? "form",
      doc: photoOf.get(sha256)?.doc ?? "",
      code,
    }));
  }

  async function upload(): Promise<void> {
    uploading ??= (async () => {
      const { upload: run, tidyMedia } = await import("../media/uploads");
      const done = await run({ db, fetch: world.fetch, origin: world.origin, wall, changed: () => void readUploads(false) });
      await putAway();
      await tidyMedia(db, now());
      await readUploads();
      uploadFailures = done ? 0 : uploadFailures + 1;
      if (!done) soon(backoff(uploadFailures));
    })().finally(() => {
      uploading = null;
    });
    return uploading;
  }

  /** Object URL of a photo: this phone's own bytes while it has them, else the server's. */
  function photo(sha: string, size: "thumb" | "screen" | "original"): Promise<string | null> {
    const name = `${sha}/${size}`;
    let found = pictures.get(name);
    if (!found) {
      found = picture(sha, size);
      pictures.set(name, found);
      // What is on its way or out of reach is asked for again next time.
      found.then(
        (url) => url === null && pictures.delete(name),
        () => pictures.delete(name),
      );
    }
    return found;
  }

  async function picture(sha: string, size: string): Promise<string | null> {
    const here = space;
    const shown = (bytes: BlobPart, type = "image/jpeg") => URL.createObjectURL(new Blob([bytes], { type }));
    const own = await db.media.get(sha);
    if (own?.bytes) return shown(own.bytes, own.type);
    if (!here) return null;
    const kept = await seen(here.db, here.key, `${sha}/${size}`);
    if (kept) return shown(kept, "image/webp");
    try {
      const response = await send(world.fetch, `${world.origin}/api/media/${sha}/${size}`, { headers: named(here.person.id) });
      const blob = await response.blob();
      if (size !== "original")
        await keepPicture(here.db, here.key, `${sha}/${size}`, await blob.arrayBuffer(), wall()).catch(() => undefined);
      return shown(blob, blob.type);
    } catch (error) {
      const mine = await seen(here.db, here.key, `${sha}/own`);
      if (mine) return shown(mine);
      if (error instanceof Offline || (error instanceof HttpError && error.status === 404)) return null;
      throw error;
    }
  }

  /** A photo that the server has stored leaves the open part of this phone; its taker keeps it under their PIN. */
  async function putAway(): Promise<void> {
    const here = space;
    if (!here) return;
    const sent = await db.media.filter((row) => row.state === "sent" && row.bytes !== null && row.author === here.person.id).toArray();
    for (const { sha256, bytes } of sent) {
      await keepPicture(here.db, here.key, `${sha256}/own`, bytes as ArrayBuffer, wall()).catch((error) => {
        // The server has it; on a full phone the room is worth more than a second copy.
        if (!isFull(error)) throw error;
      });
      await db.media.update(sha256, { bytes: null });
    }
  }

  // ---- drafts ----

  const mine = (): string => {
    if (!me.value) throw new AppError("auth.locked");
    return me.value.id;
  };

  async function draft<T>(id: string): Promise<T | undefined> {
    return (await db.drafts.get([mine(), id]))?.value as T | undefined;
  }

  async function keepDraft<T>(id: string, value: T): Promise<void> {
    try {
      await db.drafts.put({ person: mine(), id, value: plain(value), at: wall() });
    } catch (error) {
      throw isFull(error) ? new AppError("storage.full") : error;
    }
  }

  async function dropDraft(id: string): Promise<void> {
    await db.drafts.delete([mine(), id]);
  }

  // ---- the browser around it ----

  /** Nobody has touched this phone for long. A clock that was set back gives nobody more time: from then on it is counted anew. */
  function idle(): boolean {
    if (!space) return false;
    if (wall() < active) void keepOpen();
    return wall() - active > IDLE_MS_MAX;
  }

  function live(): void {
    const stir = (): void => {
      if (idle()) lockNow();
      else void keepOpen();
    };
    for (const event of ["pointerdown", "keydown"]) window.addEventListener(event, stir, { passive: true, capture: true });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible") return;
      void lookForLoss();
      if (idle()) lockNow();
      else soon(0);
    });
    window.addEventListener("focus", () => soon(0));
    window.addEventListener("online", () => {
      failures = 0;
      note({ online: true });
      soon(0);
    });
    window.addEventListener("offline", () => note({ online: false }));
    setInterval(async () => {
      if (idle()) lockNow();
      await lookForLoss();
      noteClock();
      if (!space && Math.abs(wall() - asked) > ASK_EVERY_MS) soon(0);
      storage.value = await usage();
    }, LOOK_EVERY_MS);
    channel?.addEventListener("message", (event) => void heard(event.data));
  }

  /** Word from another tab or the worker. */
  async function heard(word: {
    locked?: boolean;
    opened?: string;
    said?: string;
    pulled?: string;
    put?: string[];
    gone?: string[];
    pushed?: boolean;
  }): Promise<void> {
    const here = space;
    // Locked in one tab is locked in all; and of two persons only the one who came last is here.
    if (here && (word.locked || (word.opened && word.opened !== here.person.id))) {
      leave();
      lock.value = "locked";
      return;
    }
    if (word.pulled && here?.person.id === word.pulled) {
      const found = (await here.db.docs.bulkGet(word.put ?? [])).filter((row) => row !== undefined);
      const opened = await Promise.all(found.map((row) => openRow(here.key, row)));
      if (space !== here) return;
      through = (await here.db.place()).through;
      takeIn(opened, word.gone);
    }
    await afterPush();
  }

  async function wakeWorker(): Promise<void> {
    try {
      const registration = await globalThis.navigator?.serviceWorker?.ready;
      await (registration as { sync?: { register(tag: string): Promise<void> } } | undefined)?.sync?.register("anlu-push");
    } catch {
      // Not every browser has background sync, and nobody is promised it.
    }
  }

  function label(): string {
    return deviceLabel(globalThis.navigator?.userAgent ?? "");
  }

  function now(): number {
    return believed(clock, wall()).now;
  }

  return {
    boot,
    people,
    me,
    lock,
    signIn: sayingFull(signIn),
    setUp: sayingFull(setUp),
    setPin: sayingFull(setPin),
    newPin: sayingFull(newPin),
    unlock: sayingFull(unlock),
    lockNow,
    signOut,
    resetPin: sayingFull(resetPin),
    doc: (key) => documents.doc(key),
    list: (kind, where) => documents.list(kind, where),
    get: (key) => documents.get(key),
    // Asked for in a computed, they wake it when a kind comes: a screen may be open before the first pull has brought what it shows.
    kind: (name, version) => {
      documents.watch("kind");
      return flow?.kind(name, version);
    },
    kinds: () => {
      documents.watch("kind");
      return flow?.kinds() ?? [];
    },
    create,
    set,
    add,
    act,
    may,
    mayCreate,
    outbox,
    uploads,
    unsent,
    sayAgain,
    dismiss: async (op) => {
      await dismiss(db, op);
      await Promise.all([readRows(), readUploads()]);
      replay();
    },
    failed,
    setPhotoAside: async (sha) => {
      await (await import("../media/uploads")).setAside(db, sha);
      await readUploads();
    },
    exportQueue: () => exported(db, wall()),
    takeIn: async (file, heard) => {
      const { carry, readCargo } = await import("../sync/carry");
      const cargo = readCargo(await file.text());
      heard(cargo, []);
      const fetch: Fetch = (path, init) => world.fetch(`${world.origin}${path}`, init);
      for await (const results of carry({ fetch, headers: named(mine()) }, cargo)) heard(cargo, results);
      soon(0);
    },
    syncNow,
    sync,
    storage,
    lost,
    askPersistent: async () => {
      const granted = await askPersistent();
      storage.value = await usage();
      return granted;
    },
    keepPhoto,
    photo,
    now,
    request,
    draft,
    keepDraft,
    dropDraft,
  };
}

/** Values as JSON has them: what Vue wraps is unwrapped, what JSON cannot say is gone. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** Named by what was said and not yet on the server, nor refused by it. */
function isGoing(photo: MediaItem): boolean {
  return ["queued", "sending"].includes(photo.state) && ["taken", "queued"].includes(photo.of);
}

/** A phone without room is told as such, whatever it was doing. */
function sayingFull<A extends unknown[], R>(does: (...given: A) => Promise<R>): (...given: A) => Promise<R> {
  return async (...given) => {
    try {
      return await does(...given);
    } catch (error) {
      throw isFull(error) ? new AppError("storage.full") : error;
    }
  };
}
