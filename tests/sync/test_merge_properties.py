"""SYNC's merge section as properties; pwa/tests/sync/properties.test.ts holds the same ones."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.sync import hlc, merge, op

AUTHOR = "01890a5d-ac96-774b-bcce-b302099a8057"
ITEMS = [f"01890a5d-ac96-774b-bcce-b302099a800{i}" for i in range(3)]
DOC = f"hazard/{ITEMS[0]}"

# Few clocks, devices, names and items, so that everything collides.
values = st.none() | st.integers(-op.NUMBER_MAX, op.NUMBER_MAX) | st.text() | st.floats(-1e15, 1e15)
said = st.fixed_dictionaries(
    {
        "e": st.integers(1, 6),
        "device": st.sampled_from([1, 2, 2**48 - 1]),
        "fields": st.dictionaries(st.sampled_from(["a", "b", "constructor"]), values),
        "items": st.dictionaries(
            st.sampled_from(["notes", "photos"]),
            st.dictionaries(st.sampled_from(ITEMS), st.dictionaries(st.sampled_from(["t", "by"]), values)),
        ),
    }
)
histories = st.lists(said, max_size=12).map(lambda ops: [{**o, "id": f"{i:02x}"} for i, o in enumerate(ops)])


def merged(ops: list[dict], body: merge.Body | None = None, ids: merge.Ids | None = None) -> merge.Body:
    body = merge.begin(1, "open") if body is None else body
    ids = {} if ids is None else ids
    for o in ops:
        merge.put_fields(body, o["fields"], o["e"], o["device"], o["id"], ids)
        stamped = {s: {i: merge.stamp(item, AUTHOR, o["e"]) for i, item in put.items()} for s, put in o["items"].items()}
        merge.put_items(body, stamped, o["e"], o["device"], o["id"], ids)
    return body


@given(st.data())
def test_any_order_and_duplication_of_the_same_ops_gives_the_same_bytes(data: st.DataObject) -> None:
    ops = data.draw(histories)
    mixed = data.draw(st.permutations(ops + ops))
    assert merge.canonical(merged(mixed)) == merge.canonical(merged(ops))


@given(st.data())
def test_any_batching_of_the_same_ops_gives_the_same_bytes(data: st.DataObject) -> None:
    ops = data.draw(histories)
    mixed = data.draw(st.permutations(ops))
    cut = data.draw(st.integers(0, len(ops)))
    ids: merge.Ids = {}
    half = merged(mixed[:cut], ids=ids)
    kept = merge.canonical(half)
    # A batch ends on disk: what comes back is merged into, and what went there is not touched by it.
    whole = merged(mixed[cut:], merge.copy(msgspec.json.decode(msgspec.json.encode(half))), ids)
    assert merge.canonical(half) == kept
    assert merge.canonical(whole) == merge.canonical(merged(ops))


@given(histories, said)
def test_what_changed_is_what_differs(ops: list[dict], last: dict) -> None:
    before = merged(ops)
    after = merge.copy(before)
    changed = {
        "set": merge.put_fields(after, last["fields"], last["e"], last["device"]),
        "add": merge.put_items(after, last["items"], last["e"], last["device"]),
    }
    merge.put_patch(before, changed)
    assert merge.canonical(before) == merge.canonical(after)


clocks = st.integers(hlc.EPOCH_MS - 86_400_000, hlc.EPOCH_MS + 4 * 10**11)


@given(st.lists(st.tuples(clocks, st.none() | st.integers(0, hlc.HLC_MAX // 4))))
def test_a_devices_hlc_only_rises_however_its_clock_stutters_or_steps_back(turns: list[tuple[int, int | None]]) -> None:
    last = 0
    for now, seen in turns:
        last = last if seen is None else hlc.see(last, seen)
        made = hlc.make(last, now)
        assert last < made <= hlc.HLC_MAX
        assert made >= hlc.from_ms(now)
        last = made


@given(st.lists(st.tuples(st.integers(0, hlc.HLC_MAX), clocks)))
def test_an_effective_hlc_is_above_the_devices_previous_and_never_far_ahead_of_the_server(turns: list[tuple[int, int]]) -> None:
    previous = 0
    for claimed, now in turns:
        e, suspect = hlc.effective(claimed, previous, now)
        assert previous < e <= max(previous + 1, hlc.from_ms(now + hlc.CLOCK_AHEAD_MS_MAX) + hlc.TICKS_PER_MS - 1)
        assert suspect == (hlc.to_ms(claimed) - now > hlc.CLOCK_AHEAD_MS_MAX)
        previous = e


@given(
    st.lists(st.binary(min_size=1).map(lambda b: b"[" + msgspec.json.encode(b.hex()) + b" ]"), max_size=20),
    st.sampled_from([b"", b" ", b"\n\t"]),
)
def test_the_ops_of_a_bundle_are_the_bytes_the_phone_hashed(ops: list[bytes], space: bytes) -> None:
    sealed = {"ab" * 32: ("c2FsdA==", '{"lat":31.2}')}
    data = op.encode_bundle([space + o + space for o in ops], device=7, certificate="c", first=2, prev="00" * 32, sealed=sealed)
    bundle = op.decode_bundle(data)
    assert [bytes(raw) for raw in bundle.ops] == ops
    assert (bundle.device, bundle.first, bundle.sealed, bundle.lost) == (7, 2, sealed, False)


HEAD = {"v": 1, "device": 7, "certificate": "c", "first": 1, "prev": None, "ops": []}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "shape"),
        ({"device": -1}, "shape"),
        ({"first": 0}, "shape"),
        ({"first": 2}, "shape"),
        ({"prev": "00" * 32}, "shape"),
        ({"first": 2, "prev": "no hash"}, "shape"),
        ({"ops": [[]] * 501}, "fields"),
        ({"ops": {}}, "json"),
        ({"certificate": None}, "json"),
        ({"certificate": "c" * op.BUNDLE_BYTES_MAX}, "bytes"),
    ],
)
def test_a_bad_envelope_is_malformed(change: dict, reason: str) -> None:
    assert op.decode_bundle(msgspec.json.encode(HEAD)).ops == []
    with pytest.raises(op.Malformed) as raised:
        op.decode_bundle(msgspec.json.encode(HEAD | change))
    assert raised.value.reason == reason


def test_a_seal_is_the_hash_of_salt_and_text() -> None:
    # pwa/tests/sync/properties.test.ts asserts the same one.
    assert op.sealed_hash(bytes(range(16)), '{"lat":31.2}') == "72f3ec81f70c5ddfa91c51487e0b2f0a0935bdde92d384e6c60b35ed75e0e7be"


@settings(max_examples=300)
@given(st.binary() | st.text().map(lambda t: f"[{t}]".encode()) | st.lists(values).map(msgspec.json.encode))
def test_bytes_that_are_no_op_are_malformed_and_nothing_else(data: bytes) -> None:
    reason = None
    try:
        found = op.decode(data)
    except op.Malformed as malformed:
        reason = malformed.reason
    assert reason in op.REASONS or op.decode(op.encode(found)) == found
