"""What the server signs is believed for what it says and nothing else."""

import base64
import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe, jws
from joserfc.jwk import ECKey, OctKey

from backend.auth import p256
from backend.auth.tokens import AUTHOR_TOKEN_HOURS, CLOCK_LEEWAY_MS, LONGEST_LIFE_MS, BadToken, Keys

NOW = 1_800_000_000_000
PERSON = "0190a0de-0000-7000-8000-000000000001"


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys", NOW)


def spki():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def signing(keys):
    held = next(f for f in keys._files.values() if f.use == "sig")
    return held.kid, ECKey.import_key(dict(held.jwk))


def forged(keys, header, claims):
    _, key = signing(keys)
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, registry=registry)


def test_an_author_token_proves_person_and_device_from_sign_in_for_72_hours(keys):
    token = keys.issue_author(PERSON, 7, NOW)
    ends = NOW + AUTHOR_TOKEN_HOURS * 3_600_000
    assert AUTHOR_TOKEN_HOURS == 72
    for at in (NOW - CLOCK_LEEWAY_MS, NOW, ends - 1):
        author = keys.verify_author(token, at)
        assert (author.person, author.device, author.issued_at, author.ends_at) == (PERSON, 7, NOW, ends)
    for at in (NOW - CLOCK_LEEWAY_MS - 1, ends):
        with pytest.raises(BadToken):
            keys.verify_author(token, at)


def test_no_token_passes_as_one_of_another_type(keys):
    made = {
        "author": keys.issue_author(PERSON, 7, NOW),
        "device": keys.issue_certificate(7, spki(), [], NOW),
        "receipt": keys.issue_receipt({"epoch": "e"}, NOW),
        "grant": keys.issue("grant", {}, NOW, 60),
    }
    for typ, token in made.items():
        for asked in made:
            if asked == typ:
                assert keys.verify(asked, token)["aud"] == typ
            else:
                with pytest.raises(BadToken):
                    keys.verify(asked, token)


def test_a_token_whose_type_and_audience_differ_is_refused(keys):
    kid, _ = signing(keys)
    claims = {"aud": "device", "sub": PERSON, "dev": 7, "iat": NOW // 1000, "exp": NOW // 1000 + 60}
    with pytest.raises(BadToken):
        keys.verify_author(forged(keys, {"alg": "ES256", "kid": kid, "typ": "author"}, claims))


@pytest.mark.parametrize(
    "extra", [{"jku": "https://evil"}, {"jwk": {}}, {"x5u": "https://evil"}, {"crit": ["b64"]}, {"x": 1}, {"typ": "JWT"}]
)
def test_a_header_with_anything_more_than_alg_kid_typ_is_refused(keys, extra):
    kid, _ = signing(keys)
    claims = {"aud": "author", "sub": PERSON, "dev": 7, "iat": NOW // 1000, "exp": NOW // 1000 + 60}
    good = {"alg": "ES256", "kid": kid, "typ": "author"}
    assert keys.verify_author(forged(keys, good, claims)).person == PERSON
    header = base64.urlsafe_b64encode(json.dumps({**good, **extra}).encode()).decode().rstrip("=")
    _, body, signature = forged(keys, good, claims).split(".")
    with pytest.raises(BadToken):
        keys.verify_author(f"{header}.{body}.{signature}")


def test_only_es256_under_a_key_of_ours_is_believed(keys, tmp_path):
    kid, _ = signing(keys)
    claims = {"aud": "author", "sub": PERSON, "dev": 7, "iat": NOW // 1000, "exp": NOW // 1000 + 60}
    none = ".".join(
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=")
        for p in ({"alg": "none", "kid": kid, "typ": "author"}, claims)
    )
    hs256 = jws.serialize_compact({"alg": "HS256", "kid": kid, "typ": "author"}, json.dumps(claims).encode(), OctKey.import_key("x" * 32))
    stranger = Keys(tmp_path / "other", NOW).issue_author(PERSON, 7, NOW)
    encryption = next(f.kid for f in keys._files.values() if f.use == "enc")
    for token in (f"{none}.", hs256, stranger, "", "a.b", "a.b.c", "…", "." * 5000):
        with pytest.raises(BadToken):
            keys.verify_author(token)
    with pytest.raises(BadToken):
        keys.verify_author(forged(keys, {"alg": "ES256", "kid": encryption, "typ": "author"}, claims))


def test_a_changed_token_is_refused_also_after_the_true_one_was_seen(keys):
    token = keys.issue_author(PERSON, 7, NOW)
    keys.verify_author(token)
    head, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"dev":7', b'"dev":8')).decode().rstrip("=")
    with pytest.raises(BadToken):
        keys.verify_author(f"{head}.{other}.{signature}")


def test_a_certificate_brings_the_key_itself_and_the_numbers_before(keys):
    key = spki()
    certificate = keys.verify_certificate(keys.issue_certificate(9, key, [3, 2], NOW))
    assert (certificate.device, certificate.public_key, certificate.predecessors) == (9, key, (3, 2))
    assert certificate.thumbprint == p256.thumbprint(key) == ECKey.import_key(base64.b64decode(key)).thumbprint()


def test_keys_are_made_once_and_only_their_owner_reads_them(keys, tmp_path):
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {0o600}
    again = Keys(folder, NOW + 1)
    assert again.jwks() == keys.jwks()
    assert again.verify_author(keys.issue_author(PERSON, 7, NOW)).device == 7


def test_a_retired_key_is_believed_and_published_until_its_last_token_ends(keys):
    token = keys.issue_certificate(7, spki(), [], NOW)
    old = {k["kid"] for k in keys.jwks(NOW)["keys"]}
    keys.rotate(NOW + 1)
    assert keys.verify_certificate(token).device == 7
    assert old < {k["kid"] for k in keys.jwks(NOW + 2)["keys"]}
    assert not old & {k["kid"] for k in keys.jwks(NOW + 2 + LONGEST_LIFE_MS)["keys"]}
    new_kid = json.loads(base64.urlsafe_b64decode(keys.issue_author(PERSON, 7, NOW + 2).split(".")[0] + "=="))["kid"]
    assert new_kid not in old


def test_published_keys_hold_nothing_private(keys):
    for key in keys.jwks(NOW)["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_a_bundle_in_jose_opens_only_with_our_encryption_key_and_the_agreed_algorithms(keys):
    published = next(k for k in keys.jwks()["keys"] if k["use"] == "enc")
    key = ECKey.import_key({m: published[m] for m in ("kty", "crv", "x", "y")})
    header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": published["kid"]}
    for content in (b"bundle", b"b" * 1_000_000):
        assert keys.open_jose(jwe.encrypt_compact(header, content, key)) == content
    stranger = ECKey.generate_key("P-256")
    bad = [
        jwe.encrypt_compact(header, b"bundle", stranger),
        jwe.encrypt_compact({**header, "enc": "A128GCM"}, b"bundle", key, algorithms=["ECDH-ES", "A128GCM"]),
        jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A256GCM"}, b"bundle", key),
        "a.b.c.d.e",
        "",
    ]
    for text in bad:
        with pytest.raises(BadToken):
            keys.open_jose(text)


def test_the_receipt_of_a_whole_bundle_of_refusals_is_believed(keys):
    refused = [["a" * 64, 12_345_678, "refused", "check.value_out_of_limits", {"value": 1.5, "min": 2.5, "max": 3.5, "why": "b" * 80}]]
    claims = keys.verify_receipt(keys.issue_receipt({"epoch": "e", "device": 1, "verdicts": refused * 500}, 1_800_000_000_000))
    assert len(claims["verdicts"]) == 500


def test_a_device_key_is_p256_in_one_spelling_and_its_signature_is_raw():
    private = ec.generate_private_key(ec.SECP256R1())
    raw = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = base64.b64encode(raw).decode()
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (
        "",
        "!",
        public.rstrip("="),
        public + "\n",
        base64.b64encode(other_curve).decode(),
        base64.b64encode(raw + b"x").decode(),
    ):
        if wrong != public:
            with pytest.raises(ValueError):
                p256.load(wrong)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(private.sign(b"words", ec.ECDSA(hashes.SHA256())))
    signature = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
    assert p256.signed(public, b"words", signature)
    assert not p256.signed(public, b"other", signature)
    assert not p256.signed(public, b"words", base64.b64encode(private.sign(b"words", ec.ECDSA(hashes.SHA256()))).decode())
