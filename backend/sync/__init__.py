"""The sync protocol.

Phones write *ops* with or without a network, put them into a queue on their own storage, and send them as signed *bundles*. The server
gives every op a *verdict* and an entry in a hash-chained *ledger*, changes *documents* by those it accepts, and sends each phone the
documents that its person may hold. Whoever reads this page and the modules it names can write a client.

    push    POST /api/sync/push      a bundle up, verdicts down                         push.py taking.py writer.py
    pull    POST /api/sync/pull      what this phone lacks, as NDJSON                   pull.py shapes.py
    poke    GET  /api/sync/events    server-sent events: it is time to pull             events.py

Bodies are UTF-8 JSON, compressed on the wire by Content-Encoding (br or gzip down, gzip or deflate up). An error is
`{"code", "message": {"zh", "en"}, "params"}`; the codes, their HTTP statuses and what a worker can do are in `kernel/catalogue/sync.json`.

Words
=====

device    an installed app: a random 48-bit number, and a P-256 key pair whose private half does not leave the phone. Its certificate, a
          JWT signed by the server, carries number, public key and the numbers the phone had before (`predecessors`).
author    the person an op speaks for. An author token, a JWT signed by the server, says that this person was signed in on this device from
          `iat` to `exp`; an op is proven by a token of its author, for its own device, in force at the op's `at` (five minutes of grace
          before `iat`).
queue     a device's ops, numbered n = 1, 2, 3, … without a hole. `have` is the last number the server has taken.
document  `kind/id`. Its `seq` is that of the ledger entry that changed it last.
shape     a name for a set of documents: `site`, `area:<id>`, `person:<id>`, `role:<name>`. A kind says which shapes hold a document; roles
          say which shapes a person holds.
epoch     a random id of the ledger's life. It changes when the database turns out to have been restored from a backup.

Ops
===

    ["new", device, hlc, at, author, doc, version, {field: value}]
    ["set", device, hlc, at, author, doc, {field: value}]
    ["add", device, hlc, at, author, doc, set, item id, item]
    ["act", device, hlc, at, author, doc, transition, input, base]

An op is its bytes: they are made once, hashed (`id` = SHA-256, hex), kept, signed and sent as they are. What bytes are an op, `op.py`
decides: I-JSON, at most 64 KB, 64 names, 16 KB a value, ids as lower-case UUIDs. `hlc` is a hybrid logical clock, `at` the time of the act
in Unix milliseconds, `base` the document's seq that the phone held.

The server takes no clock at its word. An op's *effective* hlc `e` is its claim, or the server's wall clock where the claim is more than
five minutes ahead (marked `clock_suspect`), and always above the `e` of that device's op before. `at` counts at most as the arrival.

Push
====

    POST /api/sync/push        Anlu-Signature: base64 of ECDSA P-256 / SHA-256, r||s, over exactly the body before any Content-Encoding

    {"v": 1, "device", "certificate", "first": n, "prev": id of op n-1 | null, "ops": [op, …],
     "sealed": {hash: [salt, text]}, "authors": {person: [token, …]}, "lost"?: true}

    200 {"have", "epoch", "now": hlc, "receipt": jwt, "verdicts": [{"op", "n", "seq", "state", "code"?, "params"?}, …]}

No session is needed: certificate, signature and tokens prove everything, and whoever has the bundle may carry it. At most 500 ops and 1 MB.

The whole bundle is refused, and nothing of it taken, only for:

    400 sync.malformed         the envelope cannot be read
    401 sync.certificate       not ours, ended, or another device's
    401 sync.signature         not this key's over these bytes
    413 sync.too_large         send half
    409 sync.gap               `first` is past `have` + 1; `params.have` says where to begin
    409 device.forked          `prev`, or an op at or below `have`, is not what the server has there: the phone was rolled back or
                               cloned. It registers anew, proving the old key, renumbers what is unsent and sends it under the new
                               number; the ops' bytes stay as they are: an op may name its bundle's device or a predecessor
    429 http.rate              wait Retry-After
    503 http.unavailable       wait Retry-After

Otherwise each op gets a verdict of its own and the queue goes on. 200 is sent after the commit is on disk. A bundle that is sent again
gets the verdicts that stand now; an op known under another number takes its new number too and nothing else.

- `ok`: in the ledger and in its document. A code beside `ok` is a mark: `author.unproven` or `device.revoked` on a stop that counted all
  the same.
- `refused`: in the ledger, without effect. `op.malformed` (kept as its bytes), `op.wrong_device`, `op.exists`, `op.set_full`,
  `op.set_aside` (by a supervisor), or what the kind's rules said.
- `parked`: in the ledger, waiting.
    - `op.awaits_document`, `op.awaits_kind`: judged when that comes.
    - `author.unproven`, `device.revoked`: no token proves the author, or person or device is revoked by now, whatever time the op claims.
    - `op.awaits_earlier`: a later act of a device on a document of which an earlier op is parked. Stops pass, and so do facts.
    - `op.disputed`: the receipt says ok, today's documents say no.
    - `op.unjudged`: the server's own mistake. It must not keep the rest of the queue from arriving.
  Each parked op is a document `parked/<op id>` too. A supervisor's act `take` on it judges the op again with its author taken as proven;
  `refuse` sets it aside. A later verdict is a new entry of the ledger; nothing is ever changed there.

*Safe beats unsafe.* A stop counts at once, proven or not. A start is judged with the list of stops that its author had not known of: those
above its `base` (a base past the ledger's end counts as 0), but for those the same author said earlier in the same device's queue. What
one knew decides, clocks do not.

What an accepted op brings about (documents it spawns, acts on other documents, later verdicts on what waited for it) is written by the
server's own device in the same transaction, right behind it.

Merge
=====

`merge.py`. A body is `{"version", "status", "fields": {f: [value, e, device]}, "sets": {s: {id: [item, e, device]}}}`. Of a field's
values, by `new` and `set`, the one with the larger (e, device) stands; items are united by id, and of two with one id the smaller (e,
device) stands: any order, repetition and grouping of the same facts gives the same body. Acts are decisions: they are judged and written
in the ledger's order. Status and what acts write is not open to `set`. An item gets `by` and `at` from its op.

Pull
====

    POST /api/sync/pull        under a session    {"cursor": text | null, "want": [doc, …]}

    {"epoch", "reset", "total"}                                   first; on `reset` forget everything but the queue
    {"doc", "seq", "body"}                                        a whole document
    {"patch", "seq", "set"?: {f: entry}, "add"?: {s: {id: entry}}, "status"?}    what one entry changed; its word stands over any clock
    {"gone", "seq"}                                               forget it, and its seq
    {"verdict": {"op", "n", "seq", "state", "code"?, "params"?}}  on an op of the session's person in this device's queue, at first and on
    every change {"cursor", "through", "more"}                                 ends a page

One answer holds as many pages as there are. After each `cursor` line a phone may stop, or be stopped, and go on from that cursor; `more`
says whether there is more. A line for a document is ignored unless its `seq` is above the one held. A patch of a document that is not held
is answered by `want` in the next pull. All lines of a page are applied together. `through` is the seq up to which the phone has
everything; it stays where it was until a first pull, also of one more shape, is complete. `total` is about how many lines will come.

The cursor is ours alone to read: a place for each shape and one for verdicts, sealed with a key of this database for this person, device
and epoch. One that does not fit, or is older than what trails are kept for, means `reset`; so does one from before a change of the rights
by which personal values are opened (its documents would come with the seq that the phone has). A shape that is new to the cursor comes
whole, in key order, from a place noted before its first document was read, and its trail is followed from there, so that nothing that
changes meanwhile is missed. A shape that is no longer held brings `gone` for what no other held shape has.

Personal values
===============

`{"sealed": hash}` stands where a personal value is, or for the author of an anonymous op; hash = SHA-256(16-byte salt, then the value's
JSON text). Salt and text travel beside the ops and lie in a table of their own. A puller entitled to it gets the value, others null. An
anonymous op's entries name device 0. Erasing removes salt and text and leaves an entry with who and why; the chain still verifies. Rounding
does the same and seals a rough value under a salt of its own: the entry's `params.rounded` names its hash for each old one, so the ledger
tells no place, and whoever could read the exact value reads the rough one, marked `rounded`. Either way the document goes out whole again.

Poke
====

    event: poke     data: {} at the start, {"seq"} when something in your shapes, or a verdict in your queue, has changed
    event: alert    data: an alarm's headline
    : (a comment) every 15 s

When things go wrong
====================

*The answer was lost*: send again. *The server was restored*: its epoch is new, its sequences go on from the wall clock's hlc and past
everything it ever signed, so that none is given twice. Phones push before they pull. A phone keeps each acknowledged bundle for 14 days as
a JWE (ECDH-ES, A256GCM) to the server's `enc` key of

    signature LF receipt LF the bundle's bytes

and on `sync.gap` sends them with `Content-Type: application/jose`. The receipt names epoch, device and `[op, seq, state, code?, params?]`
of each op; its verdicts stand, except against a stop. *The phone no longer has what a gap asks for*: the next bundle says `"lost": true`;
it may be empty, and its `prev` 64 zeros where the phone does not know it. The missing numbers are noted and the queue goes on. *The phone
asks where it stands*: a bundle without ops. It does so before it gives up numbers: a server that was restored may lack, below them, what
the phone still keeps.

How a restore is known: every start writes a fresh boot id into the database and beside the keys, and every commit a signed head of the
ledger beside the keys. A database with another boot id, or without the last signed head, is not the one that was served last.

Who calls what
==============

`server.Sync` is the door: `push`, `pull`, `say` (ops by the server's own device), `erase`, `do`, `shapes`. Rules come as a `judge.Judge`;
nothing here knows a kind but `parked` and `kind`. `rebuild.py` derives every table but the ledger and the sealed values from the ledger
alone, and judges nothing again.
"""
