"""Who was put out stays out, whatever becomes of the database or of the write itself."""

from backend.auth.revocations import Line, Revocations

PERSON = "0190a0de-0000-7000-8000-000000000001"


def test_the_last_word_counts_and_stands_after_a_restart(tmp_path):
    file = tmp_path / "revocations.jsonl"
    kept = Revocations(file)
    kept.note(Line("person", PERSON, True, 1, "admin"))
    kept.note(Line("device", "7", True, 2, "admin"))
    assert (Revocations(file).person(PERSON), Revocations(file).device(7), Revocations(file).device(8)) == (True, True, False)
    kept.note(Line("person", PERSON, False, 3, "admin"))
    assert not Revocations(file).person(PERSON)
    assert [line.what for line in Revocations(file).every()] == ["device", "person"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_write_cut_anywhere_loses_nothing_that_was_answered_for(tmp_path):
    file = tmp_path / "revocations.jsonl"
    Revocations(file).note(Line("person", PERSON, True, 1, "admin"))
    whole = file.read_bytes()
    Revocations(file).note(Line("device", "7", True, 2, "admin"))
    both = file.read_bytes()
    for cut in range(len(whole), len(both)):
        file.write_bytes(both[:cut])
        kept = Revocations(file)
        assert kept.person(PERSON)
        kept.note(Line("device", "8", True, 3, "admin"))
        again = Revocations(file)
        assert again.person(PERSON)
        assert again.device(8)


def test_what_one_worker_revokes_another_knows_at_its_next_question(tmp_path):
    file = tmp_path / "revocations.jsonl"
    one, two = Revocations(file), Revocations(file)
    assert not two.person(PERSON)
    one.note(Line("person", PERSON, True, 1, "admin"))
    assert two.person(PERSON)
    two.note(Line("person", PERSON, False, 2, "admin"))
    assert not one.person(PERSON)
    assert [line.revoked for line in one.every()] == [False]
    with file.open("ab") as torn:
        torn.write(b'{"what": "device", ')  # by one that was killed in the middle
    assert not one.device(7)
    two.note(Line("device", "7", True, 3, "admin"))
    assert one.device(7)
    assert two.device(7)
